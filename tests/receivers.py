"""A webhook's receiver: a real HTTP server of the test's process, which keeps what it is sent."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

SECRET = "T0SECRET"


class Receiver(ThreadingHTTPServer):
    """Answers each POST with the next of `answers`, the last of which it goes on with, `delay` seconds later."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.answers = [200]
        self.delay = 0.0

    @property
    def url(self) -> str:
        """Where it listens, with a path that nobody else is to know."""
        return f"http://127.0.0.1:{self.server_port}/services/{SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(f"{self.command} {self.path} {self.headers['Content-Type']}")
        time.sleep(self.server.delay)
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == 200:
            self.server.received.append(msgspec.json.decode(content))
        self.send_response(answer)
        if answer in (301, 302, 307):
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002  the base class's name
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Have a receiver for the block."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()
        thread.join()
