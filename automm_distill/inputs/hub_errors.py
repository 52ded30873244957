"""What a person can make of the errors of the libraries that talk to the Hugging Face hub."""

import json
import os
import re
import socket
import ssl
from collections.abc import Iterator

import httpx
from huggingface_hub import constants
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    IncompleteSnapshotError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)

from automm_distill.errors import first_line

TOO_MANY_REQUESTS = "too many requests from here (status 429)"
NO_REPOSITORY = "the hub has no repository of that name, or it is a private one (then: hf auth login)"
GATED = "the repository is gated: ask for access on its page on the hub, then hf auth login"
OFFLINE = "HF_HUB_OFFLINE forbids to ask the hub"
_NOT_THE_HUB = "what answers is not the hub (the login page of a network, a proxy?)"
_BY_STATUS = {
    401: NO_REPOSITORY,
    403: "the hub refuses access (status 403): hf auth login, as somebody who has it",
    407: "the proxy wants a name and a password (status 407)",
    429: f"{TOO_MANY_REQUESTS}: wait some minutes, or hf auth login",
}


class GivenUp(OSError):
    """The hub is not asked any more; the message says why."""


# All that huggingface_hub, datasets, httpx and hf_xet raise when the hub, or the way to it, is not as it should be: a
# RuntimeError by xet, an ImportError for the missing part of a SOCKS proxy, a ValueError for an address that is none.
ERRORS = (OSError, ValueError, RuntimeError, ImportError, httpx.HTTPError, httpx.InvalidURL, XetDownloadError)


def explain(error: BaseException) -> str:
    """What is wrong, as half a sentence, with what helps; the first line of ``error`` where nothing better is known.

    The libraries wrap their errors in each other, so the causes of ``error`` are looked at too.
    """
    for link in _chain(error):
        for phrase in (_explain_repository, _explain_answer, _explain_network, _explain_settings):
            text = phrase(link)
            if text:
                return text
    return first_line(error)


def says_no(error: BaseException) -> bool:
    """Whether the hub was asked, and has no such thing for this user, so that no cache need be talked of."""
    return any(
        isinstance(link, RevisionNotFoundError)
        or (isinstance(link, HfHubHTTPError) and link.response.status_code in (401, 403, 404))
        for link in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _explain_repository(error: BaseException) -> str:
    match error:
        case GatedRepoError():
            return GATED
        case RepositoryNotFoundError():
            return NO_REPOSITORY
        case RevisionNotFoundError():
            return "the repository has no such revision"
        case IncompleteSnapshotError() if error.__cause__ is None:
            return "only a part of it is in the hub's cache"
    return ""


def _explain_answer(error: BaseException) -> str:
    match error:
        case HfHubHTTPError():
            status = error.response.status_code
            trouble = f"the hub has trouble of its own (status {status}): try again later"
            return _BY_STATUS.get(status) or (trouble if status >= 500 else f"the hub answers with status {status}")
        case json.JSONDecodeError() | FileMetadataError():
            return _NOT_THE_HUB
    return ""


def _explain_network(error: BaseException) -> str:
    match error:
        case GivenUp():
            return str(error)
        case OfflineModeIsEnabled():
            return OFFLINE
        case httpx.ProxyError():
            return f"the proxy refuses: {first_line(error)}"
        case httpx.ConnectError():
            way = f" by way of {_proxies()}" if _proxies() else ""
            return f"{_host(error)} cannot be reached{way}: {_why_no_connection(error)}"
        case httpx.TimeoutException():
            patience = max(constants.HF_HUB_ETAG_TIMEOUT, constants.HF_HUB_DOWNLOAD_TIMEOUT)
            return f"{_host(error)} has not answered for {patience} s (HF_HUB_ETAG_TIMEOUT sets how long to wait)"
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return f"the connection to {_host(error)} broke off: {first_line(error)}"
        case XetDownloadError():
            return _explain_xet(error)
        case RuntimeError() if "CAS Client" in str(error) or "reconstruction" in str(error).lower():
            return _explain_xet(error)
    return ""


def _explain_xet(error: BaseException) -> str:
    return f"the hub's storage cannot be reached by xet ({first_line(error)[:100]}): try HF_HUB_DISABLE_XET=1"


def _explain_settings(error: BaseException) -> str:
    match error:
        case ImportError() if "socksio" in str(error):
            return "a SOCKS proxy (ALL_PROXY) needs one more package: pip install socksio"
        case httpx.UnsupportedProtocol():
            return f"HF_ENDPOINT={constants.ENDPOINT} is no address: it has to begin with https://"
        case httpx.InvalidURL():
            proxies = f", or one of {_proxies()}," if _proxies() else ""
            return f"HF_ENDPOINT={constants.ENDPOINT}{proxies} is no address: {first_line(error)}"
        case ValueError() if "proxy" in str(error).lower():
            return f"one of {_proxies()} is no address of a proxy: {first_line(error)}"
        case OSError() if error.strerror:  # of this machine: a full disk, a folder that cannot be written to
            return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        case OSError() if "Consistency check failed" in str(error):
            return "a file arrived cut short: try again"
    return ""


def _why_no_connection(error: httpx.ConnectError) -> str:
    causes = tuple(_chain(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return "its certificate is not trusted here (SSL_CERT_FILE names the file of one that is to be)"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return f"no secure connection ({first_line(error)})"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "no address is known for that name (is there a network?)"
    return first_line(error)


def _host(error: httpx.RequestError) -> str:
    return error.request.url.netloc.decode()


def _proxies() -> str:
    """The proxies that are set, as a shell would set them, but for names and passwords in them."""
    return ", ".join(
        f"{name}={re.sub('[^/]*@', '', value)}"
        for name, value in sorted(os.environ.items())
        if name.lower() in ("all_proxy", "http_proxy", "https_proxy") and value
    )
