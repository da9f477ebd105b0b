"""Web servers of the tests' own, on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Handler(BaseHTTPRequestHandler):
    """Answers a GET by `respond`; remembers each path in `site.visits`."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        self.server.visits.append(self.path)
        self.respond(self.server)

    def respond(self, site: "Site") -> None:
        """A file of the site, or 404."""
        data = site.files.get(self.path)
        self.answer(404 if data is None else 200, data or b"")

    def answer(self, status: int, body: bytes, location: str | None = None) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Site(ThreadingHTTPServer):
    """A server that serves `files` by path and counts who comes."""

    def __init__(self, address: str, handler: type[Handler]) -> None:
        super().__init__((address, 0), handler)
        self.files: dict[str, bytes] = {}
        self.visits: list[str] = []

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}"


@contextmanager
def serving(
    address: str = "127.0.0.1", handler: type[Handler] = Handler, site: type[Site] = Site
) -> Iterator[Site]:
    """A site that runs while this is open."""
    served = site(address, handler)
    thread = Thread(target=served.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield served
    finally:
        served.shutdown()
        served.server_close()
        thread.join()
