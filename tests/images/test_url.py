"""Images by URL: the real fetcher against real listeners on loopback."""

import asyncio
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network, ip_address
from threading import Thread

import pytest

from app.errors import ImageTooLargeException, InvalidImageUrlException
from app.images.url import UrlFetcher, is_public

ONLY_THIS = (IPv4Network("127.0.0.1/32"),)


class _Site(BaseHTTPRequestHandler):
    """/photo, /host, /slow, /endless, /missing, /to?URL"""

    def do_GET(self) -> None:
        self.server.visits.append(self.path)  # type: ignore[attr-defined]
        path, _, query = self.path.partition("?")
        if path == "/to":
            self._answer(302, b"", location=query)
        elif path == "/photo":
            self._answer(200, b"photo")
        elif path == "/host":
            self._answer(200, self.headers["Host"].encode())
        elif path == "/slow":
            time.sleep(3)
        elif path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(65_536))
            except OSError:
                return
        else:
            self._answer(404, b"no")

    def _answer(self, status: int, body: bytes, location: str | None = None) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def served(address: str) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer((address, 0), _Site)
    server.visits = []  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def site() -> Iterator[ThreadingHTTPServer]:
    """On the one address that the fetcher is allowed."""
    yield from served("127.0.0.1")


@pytest.fixture
def private_site() -> Iterator[ThreadingHTTPServer]:
    """On an address that it is not allowed."""
    yield from served("127.0.0.2")


def fetch(url: str, *, max_bytes: int = 1000, timeout_s: float = 5, enabled: bool = True) -> bytes:
    async def run() -> bytes:
        fetcher = UrlFetcher(timeout_s=timeout_s, allowed=ONLY_THIS, enabled=enabled)
        try:
            return await fetcher.fetch(url, max_bytes)
        finally:
            await fetcher.aclose()

    return asyncio.run(run())


def url_of(site: ThreadingHTTPServer, path: str) -> str:
    return f"http://127.0.0.1:{site.server_port}{path}"


def test_a_photo_is_fetched_also_through_redirects(site: ThreadingHTTPServer) -> None:
    assert fetch(url_of(site, "/photo")) == b"photo"
    assert fetch(url_of(site, "/to?/to?/photo")) == b"photo"
    assert fetch(url_of(site, f"/to?{url_of(site, '/photo')}")) == b"photo"


def test_the_host_header_is_that_of_the_url(site: ThreadingHTTPServer) -> None:
    assert fetch(url_of(site, "/host")) == f"127.0.0.1:{site.server_port}".encode()


def test_a_redirect_to_a_private_address_is_not_followed(
    site: ThreadingHTTPServer, private_site: ThreadingHTTPServer
) -> None:
    for target in (
        f"http://127.0.0.2:{private_site.server_port}/photo",
        f"//127.0.0.2:{private_site.server_port}/photo",
        "http://169.254.169.254/latest",
        "http://[::1]/",
    ):
        with pytest.raises(InvalidImageUrlException) as refusal:
            fetch(url_of(site, f"/to?{target}"))
        assert refusal.value.reason == "ImageUrlNotAllowed"
    assert private_site.visits == []  # type: ignore[attr-defined]


def test_a_redirect_to_another_scheme_is_not_followed(site: ThreadingHTTPServer) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(url_of(site, "/to?file:///etc/passwd"))
    assert refusal.value.reason == "ImageUrlInvalid"


def test_redirects_end(site: ThreadingHTTPServer) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(url_of(site, "/to?" * 7 + "/photo"))
    assert refusal.value.reason == "ImageUrlRedirects"


def test_an_endless_body_is_cut_off(site: ThreadingHTTPServer) -> None:
    with pytest.raises(ImageTooLargeException):
        fetch(url_of(site, "/endless"))


def test_a_slow_server_is_given_up(site: ThreadingHTTPServer) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(url_of(site, "/slow"), timeout_s=0.3)
    assert refusal.value.reason == "ImageUrlTimeout"


@pytest.mark.parametrize(("path", "reason"), [("/missing", "ImageUrlStatus")])
def test_an_error_page_is_no_photo(site: ThreadingHTTPServer, path: str, reason: str) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(url_of(site, path))
    assert refusal.value.reason == reason


def test_nobody_listening_is_unreachable(site: ThreadingHTTPServer) -> None:
    url = url_of(site, "/photo")
    site.socket.close()
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(url)
    assert refusal.value.reason == "ImageUrlUnreachable"


def test_urls_can_be_switched_off(site: ThreadingHTTPServer) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(url_of(site, "/photo"), enabled=False)
    assert refusal.value.reason == "ImageUrlsOff"
    assert site.visits == []  # type: ignore[attr-defined]


def test_no_proxy_of_the_environment_is_used(
    site: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert fetch(url_of(site, "/photo")) == b"photo"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1",
        "fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:53aa:64c:0:fbff:f5ff:fffe",
        "2001:db8::1", "::127.0.0.1", "64:ff9b:1::a00:1",
    ],
)  # fmt: skip
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_global_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))
