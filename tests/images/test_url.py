"""Images by URL: the real fetcher against real listeners on loopback."""

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from queue import Queue

import pytest

from app.errors import ImageTooLargeException, InvalidImageUrlException
from app.images.url import is_public
from tests.images import fetching
from tests.images.fetching import lead_into, network, trapped
from tests.loopback import Handler, Site, serving

MIB = 1024 * 1024
fetch = partial(fetching.fetch, allowed=network("127.0.0.1/32"))


class _Pages(Handler):
    """/photo, /host, /headers, /slow, /drip, /drip-headers, /endless, /missing, /to?URL"""

    def respond(self, site: Site) -> None:
        path, _, query = self.path.partition("?")
        if path == "/to":
            self.answer(302, b"", location=query)
        elif path == "/photo":
            self.answer(200, b"photo")
        elif path == "/host":
            self.answer(200, self.headers["Host"].encode())
        elif path == "/headers":
            self.answer(200, str(self.headers).encode())
        elif path == "/slow":
            time.sleep(3)
        elif path.startswith("/drip"):
            self.send_response(200)
            self.end_headers() if path == "/drip" else self.flush_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.05)
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


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_without_a_length_is_not_read_to_its_end(chunked: bool) -> None:
    sent: Queue[int] = Queue()

    class Long(Handler):
        protocol_version = "HTTP/1.1" if chunked else "HTTP/1.0"

        def respond(self, site: Site) -> None:
            self.send_response(200)
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            part = bytes(65_536)
            count = 0
            with suppress(OSError):
                while count < 256 * MIB:
                    self.wfile.write(b"10000\r\n" + part + b"\r\n" if chunked else part)
                    count += len(part)
            self.close_connection = True
            sent.put(count)

    with serving("127.0.0.1", Long) as site:
        with pytest.raises(ImageTooLargeException):
            fetch(site.url, max_bytes=MIB)
        assert sent.get(timeout=10) < 64 * MIB  # what the buffers of both ends hold, and some more


def test_a_slow_server_is_given_up(site: Site) -> None:
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(site.url + "/slow", timeout_s=0.3)
    assert refusal.value.reason == "ImageUrlTimeout"


@pytest.mark.parametrize("path", ["/drip", "/drip-headers"])
def test_one_byte_at_a_time_ends_with_the_time_of_the_whole_fetch(site: Site, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidImageUrlException) as refusal:
        fetch(site.url + path, timeout_s=1)
    assert refusal.value.reason == "ImageUrlTimeout"
    assert 1 <= time.monotonic() - began < 3


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


def test_no_proxy_and_no_credential_of_the_environment_is_used(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with trapped() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://someone:something@127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://someone:something@127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert set(fetch(site.url + "/headers").decode().split()[::2]) == {"Host:", "Accept:", "User-Agent:"}
        connected = lead_into(proxy, monkeypatch)
        for scheme in ("http", "https"):
            with pytest.raises(InvalidImageUrlException):
                fetch(f"{scheme}://93.184.216.34/")
        assert connected == ["93.184.216.34"] * 2
        assert proxy.connections() == 0


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
