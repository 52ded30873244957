"""A small Hugging Face hub on loopback: it answers what huggingface_hub and datasets ask, over real HTTP.

Repositories are folders, ``root/models/owner/name`` and ``root/datasets/owner/name``, of one commit each. As on the
hub, large files (``LARGE``) come from another host by a redirect, small ones from a relative one. Requests are
recorded, and ``faults`` makes it misbehave.
"""

import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE = (".bin", ".safetensors", ".parquet", ".model", ".h5", ".msgpack", ".onnx")
LOGIN_PAGE = b"<html><body>Welcome to the airport. Please log in.</body></html>"


class HubServer(ThreadingHTTPServer):
    """``faults`` holds pairs of a pattern of "METHOD path" and what happens then; the first that matches counts:

    ``"429"`` and other numbers
        this status; ``"429:300"`` with ``Retry-After: 300``
    ``"gated"``
        the hub's refusal of a gated repository
    ``"hang"``, ``"slow:S"``, ``"reset"``
        no answer; the usual one after S seconds; the connection is cut
    ``"page"``
        status 200 and a page of HTML, as a network gives that wants a login
    ``"throttle:N"``
        N bytes a second
    """

    daemon_threads = True

    def __init__(self, root: Path, xet: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.xet = xet  # the address of a storage that large files are announced to be in
        self.scheme = "http"
        self.faults: list[tuple[str, str]] = []
        self.requests: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    @property
    def storage(self) -> str:
        return f"{self.scheme}://localhost:{self.server_port}"

    def use_tls(self, certificate: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.scheme = "https"

    def fetched(self) -> set[str]:
        """Names of the files whose content was asked for, below their repository."""
        matches = (re.match(r"GET (?:/storage|/small/\w+)/[^/]+/[^/]+/(.+)", request) for request in self.requests)
        return {match[1] for match in matches if match}

    def handle_error(self, request, client_address) -> None:
        """A client that goes away is no news."""


@contextmanager
def serving(root: Path, **options) -> Iterator[HubServer]:
    server = HubServer(root, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *arguments) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        faults = (what for pattern, what in self.server.faults if re.search(pattern, f"{self.command} {path}"))
        kind, _, value = next(faults, "").partition(":")
        self.bytes_per_s = int(value) if kind == "throttle" else None
        if kind == "slow":
            time.sleep(float(value))
        if kind == "hang":
            time.sleep(60)
        elif kind == "reset":
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif kind == "page":
            self._send(200, LOGIN_PAGE, {"Content-Type": "text/html"})
        elif kind == "gated":
            self._refuse(403, "GatedRepo")
        elif kind.isdigit():
            self._send(int(kind), b"{}", {"Retry-After": value} if value else {})
        else:
            self._answer(path)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, path: str) -> None:
        routes = (
            (r"/api/(models|datasets)/([^/]+/[^/]+)/revision/([^/]+)", self._info),
            (r"/api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)/?(.*)", self._tree),
            (r"/api/(?:models|datasets)/.*/xet-read-token/.*", self._xet_token),
            (r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
            (r"/(storage|small/\w+)/([^/]+/[^/]+)/(.+)", self._content),
        )
        for pattern, answer in routes:
            match = re.fullmatch(pattern, path)
            if match:
                return answer(*match.groups())
        return self._refuse(404, "")

    def _info(self, kind: str, name: str, revision: str) -> None:
        folder = self._folder(kind, name, revision)
        if folder:
            siblings = [{"rfilename": file} for file in _files(folder)]
            self._send(200, json.dumps({"id": name, "sha": _commit(folder), "siblings": siblings}).encode())

    def _tree(self, kind: str, name: str, revision: str, below: str) -> None:
        folder = self._folder(kind, name, revision)
        if not folder:
            return
        if below and not (folder / below).is_dir():
            self._refuse(404, "EntryNotFound")
            return
        recursive = "recursive=true" in self.path.lower()
        entries = []
        for file, path in _files(folder).items():
            rest = file.removeprefix(f"{below}/" if below else "")
            if (below and rest == file) or ("/" in rest and not recursive):
                continue
            entry = {"type": "file", "path": file, "size": path.stat().st_size, "oid": _hash(path, "sha1")}
            if file.endswith(LARGE):
                entry["lfs"] = {"oid": _hash(path, "sha256"), "size": path.stat().st_size, "pointerSize": 100}
            entries.append(entry)
        folders = {parent.as_posix() for file in _files(folder) for parent in Path(file).parents} - {"."}
        for each in sorted(folders):
            if Path(each).parent == Path(below or ".") or recursive:
                entries.append({"type": "directory", "path": each, "oid": "0" * 40, "size": 0})
        self._send(200, json.dumps(entries).encode())

    def _xet_token(self) -> None:
        token = {"X-Xet-Access-Token": "x", "X-Xet-Token-Expiration": str(int(time.time()) + 600)}
        self._send(200, b"{}", {"X-Xet-Cas-Url": self.server.xet, **token})

    def _resolve(self, kind: str, name: str, revision: str, file: str) -> None:
        kind = "datasets" if kind else "models"
        folder = self._folder(kind, name, revision)
        if not folder:
            return
        headers = {"X-Repo-Commit": _commit(folder)}
        path = folder / file
        if not path.is_file():
            self._refuse(404, "EntryNotFound", headers)
        elif file.endswith(LARGE):
            digest = _hash(path, "sha256")
            headers |= {"X-Linked-Size": str(path.stat().st_size), "X-Linked-Etag": f'"{digest}"'}
            if self.server.xet:
                token = f"{self.server.endpoint}/api/{kind}/{name}/xet-read-token/{_commit(folder)}"
                headers |= {"X-Xet-Hash": digest, "Link": f'<{token}>; rel="xet-auth"'}
            self._send(302, b"", headers | {"Location": f"{self.server.storage}/storage/{name}/{file}"})
        else:
            self._send(307, b"", headers | {"Location": f"/small/{kind}/{name}/{file}"})

    def _content(self, place: str, name: str, file: str) -> None:
        kinds = ("models", "datasets") if place == "storage" else (place.removeprefix("small/"),)
        folder = next(
            self.server.root / kind / name for kind in kinds if (self.server.root / kind / name / file).is_file()
        )
        etag = _hash(folder / file, "sha256" if place == "storage" else "sha1")
        self._send(200, (folder / file).read_bytes(), {"ETag": f'"{etag}"', "X-Repo-Commit": _commit(folder)})

    def _folder(self, kind: str, name: str, revision: str) -> Path | None:
        """The repository's; None, and the hub's refusal is sent, when there is none or it has no such revision."""
        folder = self.server.root / kind / name
        if not folder.is_dir():
            self._refuse(401, "RepoNotFound")
            return None
        if revision not in ("main", _commit(folder)):
            self._refuse(404, "RevisionNotFound")
            return None
        return folder

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"{}", (headers or {}) | {"X-Error-Code": code})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        step = max(1, self.bytes_per_s // 10) if self.bytes_per_s else len(body) or 1
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(0.1 if self.bytes_per_s else 0)


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _hash(path: Path, algorithm: str) -> str:
    return hashlib.new(algorithm, path.read_bytes()).hexdigest()


def _commit(folder: Path) -> str:
    listing = [(file, _hash(path, "sha1")) for file, path in _files(folder).items()]
    return hashlib.sha1(repr((folder.name, listing)).encode()).hexdigest()
