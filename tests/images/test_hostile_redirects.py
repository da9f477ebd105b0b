"""Redirects of an allowed site to where it is not allowed to lead."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from app.errors import InvalidImageUrlException
from app.images.url import MAX_REDIRECTS, UrlFetcher
from tests.dns import resolving
from tests.images import fetching
from tests.images.fetching import Trap, lead_into, network, trapped
from tests.images.hostile import NOT_A_URL, NOT_ALLOWED, UNREACHABLE, ZONE
from tests.loopback import Handler, Site, serving

STATUSES = [301, 302, 303, 307, 308]
fetch = partial(fetching.fetch, allowed=network("127.0.0.2/32"))
refusal = partial(fetching.refusal, allowed=network("127.0.0.2/32"))


class _Redirects(Handler):
    """/STATUS answers with it and the file `location`; other paths are files."""

    def respond(self, site: Site) -> None:
        status = self.path[1:]
        if status.isdigit():
            self.answer(int(status), b"elsewhere", location=site.files["location"].decode("latin-1"))
        else:
            super().respond(site)


@pytest.fixture
def site() -> Iterator[Site]:
    """On the one address that is allowed."""
    with serving("127.0.0.2", _Redirects) as opened:
        opened.files["/photo"] = b"photo"
        yield opened


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    """On addresses that are not."""
    with trapped() as opened, resolving(ZONE, monkeypatch):
        yield opened


def set_location(site: Site, target: str, trap: Trap) -> None:
    location = target.replace("{port}", str(trap.port))
    site.files["location"] = location.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://127.0.0.1/", "ImageUrlNotAllowed"),
        ("http://127.0.0.1:{port}/", "ImageUrlNotAllowed"),
        ("https://127.0.0.1/", "ImageUrlNotAllowed"),
        ("http://[::1]/", "ImageUrlNotAllowed"),
        ("http://2130706433/", "ImageUrlNotAllowed"),
        ("http://169.254.169.254/latest/meta-data/", "ImageUrlNotAllowed"),
        ("http://127.0.0.1.nip.io/", "ImageUrlNotAllowed"),
        ("http://mixed.example.org/", "ImageUrlNotAllowed"),
        ("//127.0.0.1/", "ImageUrlNotAllowed"),
        ("//127.0.0.1:{port}/photo", "ImageUrlNotAllowed"),
        ("//localhost/photo", "ImageUrlNotAllowed"),
        ("///127.0.0.1/", "ImageUrlStatus"),
        ("/127.0.0.1/", "ImageUrlStatus"),
        ("127.0.0.1:{port}/", "ImageUrlStatus"),
        ("\\\\127.0.0.1\\", "ImageUrlStatus"),
        ("/\\127.0.0.1/", "ImageUrlStatus"),
        ("file:///etc/passwd", "ImageUrlInvalid"),
        ("file:/etc/passwd", "ImageUrlInvalid"),
        ("ftp://127.0.0.1:{port}/", "ImageUrlInvalid"),
        ("gopher://127.0.0.1:{port}/", "ImageUrlInvalid"),
        ("data:image/png;base64,iVBORw0KGgo=", "ImageUrlInvalid"),
        ("http://user@127.0.0.1/", "ImageUrlInvalid"),
        ("//user:password@127.0.0.1:{port}/", "ImageUrlInvalid"),
        ("http://127.0.0.1\\@public.example.org/", "ImageUrlInvalid"),
        ("http://public.example.org:22/", "ImageUrlNotAllowed"),
    ],
)
def test_a_redirect_leads_nowhere_else(
    site: Site, trap: Trap, monkeypatch: pytest.MonkeyPatch, status: int, target: str, reason: str
) -> None:
    connected = lead_into(trap, monkeypatch)
    set_location(site, target, trap)
    assert refusal(f"{site.url}/{status}") == reason
    assert set(connected) == {"127.0.0.2"}
    assert trap.connections() == 0


def test_no_url_of_the_corpus_leads_to_an_address_that_is_not_public(
    site: Site, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = lead_into(trap, monkeypatch)

    async def run() -> None:
        fetcher = UrlFetcher(timeout_s=5, allowed=network("127.0.0.2/32"), enabled=True)
        try:
            for target in NOT_ALLOWED + NOT_A_URL + UNREACHABLE:
                set_location(site, target, trap)
                with pytest.raises(InvalidImageUrlException):
                    await fetcher.fetch(f"{site.url}/302", 1000)
        finally:
            await fetcher.aclose()

    asyncio.run(run())
    # As a header, some of the corpus is a proper URL of the public host.
    assert set(connected) == {"127.0.0.2", "93.184.216.34"}
    assert trap.connections() == 0


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("target", ["/photo", "photo", "../../photo", "//127.0.0.2:{port}/photo"])
def test_a_redirect_within_the_allowed_site_is_followed(site: Site, status: int, target: str) -> None:
    site.files["location"] = target.replace("{port}", str(site.server_port)).encode()
    assert fetch(f"{site.url}/{status}") == b"photo"


@pytest.mark.parametrize("status", [300, 304, 305, 306, 399])
def test_other_statuses_are_not_followed(site: Site, trap: Trap, status: int) -> None:
    set_location(site, "http://127.0.0.1:{port}/", trap)
    assert refusal(f"{site.url}/{status}") == "ImageUrlStatus"
    assert trap.connections() == 0


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("target", ["", "?", "#again"])
def test_a_redirect_without_a_target_ends(site: Site, status: int, target: str) -> None:
    site.files["location"] = target.encode()
    assert refusal(f"{site.url}/{status}") in {"ImageUrlStatus", "ImageUrlRedirects"}
    assert len(site.visits) <= MAX_REDIRECTS + 1


@pytest.mark.parametrize("status", STATUSES)
def test_endless_redirects_end(site: Site, status: int) -> None:
    site.files["location"] = f"/{status}".encode()
    assert refusal(f"{site.url}/{status}") == "ImageUrlRedirects"
    assert len(site.visits) == MAX_REDIRECTS + 1


def test_the_last_of_many_redirects_is_checked_too(site: Site, trap: Trap) -> None:
    class Chain(Handler):
        def respond(self, _: Site) -> None:
            step = int(self.path[1:])
            self.answer(
                302, b"", f"/{step + 1}" if step < MAX_REDIRECTS else f"http://127.0.0.1:{trap.port}/"
            )

    with serving("127.0.0.2", Chain) as chain:
        assert refusal(f"{chain.url}/2") == "ImageUrlNotAllowed"
        assert chain.visits == [f"/{step}" for step in range(2, MAX_REDIRECTS + 1)]
    assert trap.connections() == 0
