"""Published weights of a small model on a server of this machine, with its faults."""

import contextlib
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from foreign import openai_arrays, run_openai

from sdjax.checkpoints import registry
from sdjax.checkpoints.registry import Check, Weights


def write_openai(folder: Path, arrays=None) -> Path:
    """Write a small model in the layout of OpenAI's folder."""
    folder.mkdir(parents=True)
    for index, array in enumerate(openai_arrays() if arrays is None else arrays):
        np.save(folder / f"{index}.npy", array)
    return folder


def openai_checks(unit: int) -> tuple[Check, ...]:
    """What OpenAI's own equations in float64 give for the small model.

    The texts are those of the real model's checks; the value is the cell after the last
    byte.
    """
    checks = []
    for text in (check.text for check in registry.KNOWN["openai"].checks):
        data = f"\n {text.strip()} ".encode()
        tokens, zero = np.frombuffer(data, np.uint8)[:, None], np.zeros((1, 8))
        cells = run_openai(openai_arrays(), tokens, zero, zero)[2]
        checks.append(Check(text, unit, round(float(cells[-1, 0, unit]), 6)))
    return tuple(checks)


def weights_of(
    folder: Path, address: str, *, checks: tuple[Check, ...] = (), **changes
) -> Weights:
    """Return an entry of the registry for the files of a folder."""
    paths = sorted(folder.iterdir(), key=lambda path: (len(path.name), path.name))
    data = {path.name: path.read_bytes() for path in paths}
    settings = {
        "name": "openai",
        "format": "openai",
        "address": address,
        "files": {
            name: hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            for name, content in data.items()
        },
        "size": sum(map(len, data.values())),
        "licence": "MIT",
        "source": "https://example.org/weights",
        "notes": ("trained on English Amazon reviews only",),
        "checks": checks,
        "checks_from": "the tests",
    }
    return Weights(**(settings | changes))


class Server:
    """Serves the files of a folder; `faults` has what it does wrong instead, by name.

    A fault is called with the request and the content, and returns whether it has
    answered. `asked` counts the requests by name.
    """

    def __init__(self, folder: Path):
        self.folder, self.asked = folder, Counter()
        self.faults: dict[str, Callable[[BaseHTTPRequestHandler, bytes], bool]] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2]
                server.asked[name] += 1
                path = server.folder / name
                if not path.is_file():
                    self.send_error(404)
                    return
                data = path.read_bytes()
                fault = server.faults.get(name, lambda *_: False)
                with contextlib.suppress(ConnectionError):  # the client has gone
                    if not fault(self, data):
                        answer(self, data)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._http.server_port}/"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def answer(request, data: bytes, length: int | None = None, pause: float = 0) -> bool:
    """Send data, in pieces with a pause between them; `length` is what is promised."""
    request.send_response(200)
    if length != 0:
        request.send_header("Content-Length", str(length or len(data)))
    request.end_headers()
    pieces = 8 if pause else 1
    size = max(1, -(-len(data) // pieces))
    for start in range(0, len(data), size):
        request.wfile.write(data[start : start + size])
        request.wfile.flush()
        time.sleep(pause)
    return True


def wrong_content(request, data: bytes) -> bool:
    return answer(request, data[:-1] + bytes([data[-1] ^ 1]))


def a_page_instead(request, data: bytes) -> bool:
    return answer(request, b"<html>Please accept our terms.</html>")


def truncated(request, data: bytes) -> bool:
    """The connection ends early, and the client can know that."""
    return answer(request, data[: len(data) // 2], length=len(data))


def truncated_unnoticed(request, data: bytes) -> bool:
    """The connection ends early, and no length was promised."""
    return answer(request, data[: len(data) // 2], length=0)


def slow(request, data: bytes) -> bool:
    return answer(request, data, pause=0.05)


def stalled(request, data: bytes) -> bool:
    answer(request, data[: len(data) // 2], length=len(data))
    time.sleep(1)
    return True


def error(status: int):
    def fault(request, data: bytes) -> bool:
        request.send_error(status)
        return True

    return fault


def times(count: int, fault):
    """A fault that goes away after it has happened so often."""
    left = iter([fault] * count)
    return lambda request, data: next(left, lambda *_: False)(request, data)
