"""Images by URL: the real fetcher against real listeners on loopback."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Network, ip_address

import pytest

from app.errors import ImageTooLargeException, InvalidImageUrlException
from app.images.url import UrlFetcher, is_public
from tests.loopback import Handler, Site, serving

ONLY_THIS = (IPv4Network("127.0.0.1/32"),)


class _Pages(Handler):
    """/photo, /host, /slow, /endless, /missing, /to?URL"""

    def respond(self, site: Site) -> None:
        path, _, query = self.path.partition("?")
        if path == "/to":
            self.answer(302, b"", location=query)
        elif path == "/photo":
            self.answer(200, b"photo")
        elif path == "/host":
            self.answer(200, self.headers["Host"].encode())
        elif path == "/slow":
            time.sleep(3)
        elif path == "/endless":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(bytes(65_536))
        else:
            self.answer(404, b"no")


@pytest.fixture
def site() -> Iterator[Site]:
    """On the one address that the fetcher is allowed."""
    with serving("127.0.0.1", _Pages) as opened:
        yield opened


@pytest.fixture
def private_site() -> Iterator[Site]:
    """On an address that it is not allowed."""
    with serving("127.0.0.2", _Pages) as opened:
        yield opened


def fetch(url: str, *, max_bytes: int = 1000, timeout_s: float = 5, enabled: bool = True) -> bytes:
    async def run() -> bytes:
        fetcher = UrlFetcher(timeout_s=timeout_s, allowed=ONLY_THIS, enabled=enabled)
        try:
            return await fetcher.fetch(url, max_bytes)
        finally:
            await fetcher.aclose()

    return asyncio.run(run())


def test_a_photo_is_fetched_also_through_redirects(site: Site) -> None:
    assert fetch(site.url + "/photo") == b"photo"
    assert fetch(site.url + "/to?/to?/photo") == b"photo"
    assert fetch(site.url + f"/to?{site.url + '/photo'}") == b"photo"


def test_the_host_header_is_that_of_the_url(site: Site) -> None:
    assert fetch(site.url + "/host") == f"127.0.0.1:{site.server_port}".encode()


def test_a_redirect_to_a_private_address_is_not_followed(site: Site, private_site: Site) -> None:
    for target in (
        f"http://127.0.0.2:{private_site.server_port}/photo",
        f"//127.0.0.2:{private_site.server_port}/photo",
        "http://169.254.169.254/latest",
        "http://[::1]/",
    ):
        with pytest.raises(InvalidImageUrlException) as refusal:
            fetch(site.url + f"/to?{target}")
        assert refusal.value.reason == "ImageUrlNotAllowed"
    assert private_site.visits == []


def test_a_redirect_to_another_scheme_is_not_followed(site: Site) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(site.url + "/to?file:///etc/passwd")
    assert refusal.value.reason == "ImageUrlInvalid"


@pytest.mark.parametrize("target", ["http:////[", "http://xn--/", "http://[", "//:99999/"])
def test_a_redirect_to_what_is_no_url_is_refused(site: Site, target: str) -> None:
    with pytest.raises(InvalidImageUrlException):
        fetch(site.url + f"/to?{target}")


def test_redirects_end(site: Site) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(site.url + "/to?" * 7 + "/photo")
    assert refusal.value.reason == "ImageUrlRedirects"


def test_an_endless_body_is_cut_off(site: Site) -> None:
    with pytest.raises(ImageTooLargeException):
        fetch(site.url + "/endless")


def test_a_slow_server_is_given_up(site: Site) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(site.url + "/slow", timeout_s=0.3)
    assert refusal.value.reason == "ImageUrlTimeout"


def test_an_error_page_is_no_photo(site: Site) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(site.url + "/missing")
    assert refusal.value.reason == "ImageUrlStatus"


def test_nobody_listening_is_unreachable(site: Site) -> None:
    url = site.url + "/photo"
    site.socket.close()
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(url)
    assert refusal.value.reason == "ImageUrlUnreachable"


def test_urls_can_be_switched_off(site: Site) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(site.url + "/photo", enabled=False)
    assert refusal.value.reason == "ImageUrlsOff"
    assert site.visits == []


def test_no_proxy_of_the_environment_is_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert fetch(site.url + "/photo") == b"photo"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1",
        "fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:53aa:64c:0:fbff:f5ff:fffe",
        "2001:db8::1", "::127.0.0.1", "64:ff9b:1::a00:1", "168.63.129.16", "192.0.0.192", "3fff::1",
    ],
)  # fmt: skip
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_global_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))
