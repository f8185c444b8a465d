"""The local run's own search engine as a server of the test process, which can be told to fail as OpenSearch may."""

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from local.search import Engine


@dataclass
class Fault:
    """What is answered to the requests whose body contains a marker."""

    marker: bytes
    status: int
    body: bytes
    seconds: float
    """Before the answer."""
    left: float
    """How many more times."""
    met: int = 0
    """How many requests have met it."""


class SearchEngine:
    """`with SearchEngine() as engine:` serves at `engine.url`."""

    def __init__(self):
        self._engine = Engine()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self.answer))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def failing(self, marker: str, status: int, *, times: float = float("inf"), reason: str = "on purpose", seconds: float = 0):
        """For a while, answer documents that contain the marker (a key, say) with this status, or late; yields the Fault.

        Status 0: answer as usual, but late.
        """
        body = json.dumps({"error": {"type": "test_exception", "reason": reason}, "status": status}).encode()
        fault = Fault(marker.encode(), status, body, seconds, times)
        with self._lock:
            self._faults.append(fault)
        try:
            yield fault
        finally:
            with self._lock:
                self._faults.remove(fault)

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, dict, bytes]:
        """What the engine says, or the first fault that wants to."""
        with self._lock:
            fault = next((each for each in self._faults if each.left > 0 and each.marker in body), None)
            if fault and method == "POST" and target.endswith("/_doc"):
                fault.left -= 1
                fault.met += 1
            else:
                fault = None
        if fault:
            time.sleep(fault.seconds)
            if fault.status:
                return fault.status, {"Content-Type": "application/json"}, fault.body
        url = urlsplit(target)
        return self._engine.handle(method, url.path, url.query, body)


def handler(answer):
    """A request handler that answers so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = answer(self.command, self.path, body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else content)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_request

        def log_message(self, *_):
            pass

    return Handler
