"""IMAGE_URL_ALLOWED_HOSTS: images come from listed hosts only."""

from collections.abc import Iterator

import httpx
import pytest

from app.measure.service import running
from app.settings import SettingsError, load_settings
from tests.dns import NameServer, resolving
from tests.images.fetching import fetch, network, refusal
from tests.loopback import Handler, Site, serving

LISTED = [
    "photos.example.org",
    "a.cdn.example.org",
    "a.b.cdn.example.org",
    "xn--bcher-kva.example",
    "a.xn--bcher-kva.example",
]
NOT_LISTED = [
    "cdn.example.org",
    "evilcdn.example.org",
    "example.org",
    "a.photos.example.org",
    "evil-photos.example.org",
    "photos.example.org.evil.example",
    "photos-example.org",
    "localhost",
]
ALLOWED = "Photos.Example.ORG., *.CDN.example.org,bücher.example, *.bücher.example."
ZONE = {name: [["127.0.0.2"]] for name in LISTED + NOT_LISTED} | {"private.cdn.example.org": [["127.0.0.1"]]}


class _To(Handler):
    """/to?URL redirects; other paths are files."""

    def respond(self, site: Site) -> None:
        path, _, query = self.path.partition("?")
        self.answer(302, b"", query) if path == "/to" else super().respond(site)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving("127.0.0.2", _To) as opened:
        opened.files["/photo"] = b"photo"
        yield opened


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    with resolving(ZONE, monkeypatch) as opened:
        yield opened


def hosts(value: str) -> tuple[str, ...]:
    return load_settings(_env_file=None, image_url_allowed_hosts=value).image_url_allowed_hosts


def test_entries_are_normalised() -> None:
    assert hosts("") == ()
    assert hosts(ALLOWED) == (
        "photos.example.org",
        "*.cdn.example.org",
        "xn--bcher-kva.example",
        "*.xn--bcher-kva.example",
    )


@pytest.mark.parametrize(
    "entry",
    [
        "*", "*.", ".", "a..b", ".example.org", "**.example.org", "a.*.org", "*example.org", "https://a.org",
        "a.org/", "a.org:80", "user@a.org", "[::1]", "::1", "1.2.3.256", "a b", "a%2eb", "\u2460.org", "a\\b",
    ],
)  # fmt: skip
def test_an_entry_that_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(SettingsError, match=r"IMAGE_URL_ALLOWED_HOSTS.*host name"):
        hosts(f"example.org,{entry}")


@pytest.mark.parametrize(
    "host", [*LISTED, "PHOTOS.example.org", "photos.example.org.", "bücher.example", "BÜCHER。example"]
)
def test_a_listed_host_is_fetched_from(site: Site, server: NameServer, host: str) -> None:
    url = f"http://{host}:{site.server_port}/photo"
    assert fetch(url, allowed=network("127.0.0.2/32"), hosts=hosts(ALLOWED)) == b"photo"


@pytest.mark.parametrize("host", [*NOT_LISTED, "127.0.0.2", "[::1]", "2130706434", "93.184.216.34"])
def test_another_host_is_not_even_looked_up(site: Site, server: NameServer, host: str) -> None:
    url = f"http://{host}:{site.server_port}/photo"
    assert refusal(url, allowed=network("127.0.0.2/32"), hosts=hosts(ALLOWED)) == "ImageUrlNotAllowed"
    assert not server.questions
    assert site.visits == []


@pytest.mark.parametrize("host", NOT_LISTED)
def test_a_redirect_to_another_host_is_not_followed(site: Site, server: NameServer, host: str) -> None:
    first = f"http://photos.example.org:{site.server_port}/to?"
    for target in (f"http://{host}:{site.server_port}/photo", f"//{host}:{site.server_port}/photo"):
        assert (
            refusal(first + target, allowed=network("127.0.0.2/32"), hosts=hosts(ALLOWED))
            == "ImageUrlNotAllowed"
        )
    assert {name for name, _ in server.questions} == {"photos.example.org"}
    assert "/photo" not in site.visits


def test_a_redirect_to_a_listed_host_is_followed(site: Site, server: NameServer) -> None:
    url = f"http://photos.example.org:{site.server_port}/to?//a.cdn.example.org:{site.server_port}/photo"
    assert fetch(url, allowed=network("127.0.0.2/32"), hosts=hosts(ALLOWED)) == b"photo"


def test_the_address_of_a_listed_host_is_checked_too(site: Site, server: NameServer) -> None:
    assert refusal(f"http://private.cdn.example.org:{site.server_port}/", hosts=hosts(ALLOWED)) == (
        "ImageUrlNotAllowed"
    )
    assert refusal(f"http://photos.example.org:{site.server_port}/", hosts=hosts(ALLOWED)) == (
        "ImageUrlNotAllowed"
    )
    assert site.visits == []


def test_an_address_can_be_listed(site: Site) -> None:
    assert fetch(site.url + "/photo", allowed=network("127.0.0.2/32"), hosts=hosts("127.0.0.2")) == b"photo"


def test_the_service_keeps_to_the_setting(site: Site) -> None:
    with (
        running(IMAGE_URL_ALLOWED_NETWORKS="127.0.0.0/8", IMAGE_URL_ALLOWED_HOSTS="127.0.0.2") as service,
        serving("127.0.0.3") as other,
    ):
        other.files["/photo"] = b"photo"
        for url, status in ((site.url, 415), (other.url, 422)):
            answer = httpx.post(f"{service.url}/identify", json={"image_url": f"{url}/photo"}, timeout=60)
            assert answer.status_code == status
        assert site.visits == ["/photo"]
        assert other.visits == []
