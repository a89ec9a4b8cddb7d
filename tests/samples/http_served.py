"""HTTP servers for tests: on a free port of loopback, in a thread of the test's process, and gone when the block ends."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import MappingProxyType

LOOK_S = 0.02
"""Between looks whether a server is to end: a test waits for it as long."""


class Whole(BaseHTTPRequestHandler):
    """Reads requests and writes answers whole; says nothing on standard error."""

    def read(self) -> bytes:
        """Return the request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def say(self, status: int, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})) -> None:
        """Answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def bound(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """Return a server on a free port, for `running`."""
    return ThreadingHTTPServer(("127.0.0.1", 0), handler)


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[str]:
    """Serve for the block; give the address, without a slash."""
    thread = Thread(target=server.serve_forever, args=(LOOK_S,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
