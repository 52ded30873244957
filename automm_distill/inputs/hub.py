"""Whether the Hugging Face hub can be reached, found out in seconds rather than by its clients' long retries."""

import functools
import queue
import threading
import urllib.error
import urllib.request

CONNECT_TIMEOUT_S = 4.0


@functools.cache
def is_reachable() -> bool:
    """Ask the hub once per process; when it does not answer in time, put its client libraries into offline mode.

    Offline mode lets them serve what their own caches hold, and fail at once otherwise.
    """
    import datasets.config
    import huggingface_hub.constants

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    answer: queue.Queue[bool] = queue.Queue()
    # A thread of its own, because a silent name server blocks for longer than any socket timeout.
    threading.Thread(target=_ask, args=(huggingface_hub.constants.ENDPOINT, answer), daemon=True).start()
    try:
        reachable = answer.get(timeout=CONNECT_TIMEOUT_S)
    except queue.Empty:
        reachable = False
    if not reachable:
        huggingface_hub.constants.HF_HUB_OFFLINE = True
        datasets.config.HF_HUB_OFFLINE = True
    return reachable


def _ask(endpoint: str, answer: queue.Queue[bool]) -> None:
    try:
        urllib.request.urlopen(endpoint, timeout=CONNECT_TIMEOUT_S)
        answer.put(True)
    except urllib.error.HTTPError:
        answer.put(True)  # it answered, whatever it said
    except OSError:
        answer.put(False)
