"""Names whose addresses change between lookups."""

import asyncio
from collections.abc import Iterator

import pytest

from app.errors import InvalidImageUrlException
from app.images.url import UrlFetcher
from tests.dns import AAAA, A, resolving
from tests.images.fetching import Trap, fetch, lead_into, network, refusal, trapped
from tests.loopback import Handler, Site, serving

PUBLIC = "93.184.216.34"
PUBLIC_6 = "2606:2800:220:1:248:1893:25c8:1946"
NAME = "flip.example.org"


@pytest.fixture
def trap() -> Iterator[Trap]:
    with trapped() as opened:
        yield opened


def test_the_server_speaks_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    with resolving({NAME: [[PUBLIC, PUBLIC_6], ["127.0.0.1"]]}, monkeypatch) as server:
        assert [server.lookup(NAME, kind) for kind in (A, AAAA)] == [[PUBLIC], [PUBLIC_6]]
        assert [server.lookup(NAME, kind) for kind in (A, AAAA)] == [["127.0.0.1"], []]
        assert server.lookup("other.example.org", A) == []


def test_a_name_is_asked_once_and_the_address_that_was_checked_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        serving("127.0.0.2") as site,
        trapped(site.server_port) as trap,
        resolving({NAME: [["127.0.0.2"], ["127.0.0.1"]]}, monkeypatch) as server,
    ):
        site.files["/photo"] = b"photo"
        url = f"http://{NAME}:{site.server_port}/photo"
        assert fetch(url, allowed=network("127.0.0.2/32")) == b"photo"
        assert server.questions == {(NAME, A): 1, (NAME, AAAA): 1}
        assert refusal(url, allowed=network("127.0.0.2/32")) == "ImageUrlNotAllowed"
        assert site.visits == ["/photo"]
        assert trap.connections() == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_public_address_is_connected_to_after_one_lookup(
    trap: Trap, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    connected = lead_into(trap, monkeypatch)
    with resolving({NAME: [[PUBLIC], ["127.0.0.1"]]}, monkeypatch) as server:
        assert refusal(f"{scheme}://{NAME}/") == "ImageUrlUnreachable"
        assert server.questions == {(NAME, A): 1, (NAME, AAAA): 1}
    assert connected == [PUBLIC]
    assert trap.connections() == 0


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("private", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_name_that_flips_never_leads_to_its_private_address(
    trap: Trap, monkeypatch: pytest.MonkeyPatch, together: bool, private: str
) -> None:
    connected = lead_into(trap, monkeypatch)

    async def reason(fetcher: UrlFetcher) -> str | None:
        with pytest.raises(InvalidImageUrlException) as raised:
            await fetcher.fetch(f"http://{NAME}/", 1000)
        return raised.value.reason

    async def reasons() -> list[str | None]:
        fetcher = UrlFetcher(timeout_s=20, allowed=(), enabled=True)
        try:
            if together:
                return await asyncio.gather(*(reason(fetcher) for _ in range(50)))
            return [await reason(fetcher) for _ in range(50)]
        finally:
            await fetcher.aclose()

    with resolving({NAME: [[PUBLIC, PUBLIC_6], [private]]}, monkeypatch) as server:
        found = asyncio.run(reasons())
        assert server.questions == {(NAME, A): 50, (NAME, AAAA): 50}
    assert set(found) == {"ImageUrlUnreachable", "ImageUrlNotAllowed"}
    if not together:
        assert found == ["ImageUrlUnreachable", "ImageUrlNotAllowed"] * 25
    assert set(connected) == {PUBLIC, PUBLIC_6}
    assert trap.connections() == 0


@pytest.mark.parametrize(
    "addresses",
    [
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        [PUBLIC, "::1"],
        [PUBLIC_6, "127.0.0.1"],
        [PUBLIC, PUBLIC_6, "169.254.169.254"],
        [PUBLIC, "93.184.216.35", "93.184.216.36", "93.184.216.37", "10.0.0.1"],
    ],
)
def test_a_name_of_a_public_and_a_private_address_is_refused(
    trap: Trap, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    connected = lead_into(trap, monkeypatch)
    with resolving({NAME: [addresses]}, monkeypatch):
        assert refusal(f"http://{NAME}/") == "ImageUrlNotAllowed"
    assert connected == []
    assert trap.connections() == 0


@pytest.mark.parametrize(
    ("lookups", "reasons", "reached"),
    [
        ([[PUBLIC], ["127.0.0.1"]], ["ImageUrlUnreachable", "ImageUrlNotAllowed"], [PUBLIC]),
        ([[PUBLIC, "127.0.0.1"]], ["ImageUrlNotAllowed", "ImageUrlNotAllowed"], []),
    ],
)
def test_a_redirect_to_such_a_name_does_not_lead_there(
    trap: Trap,
    monkeypatch: pytest.MonkeyPatch,
    lookups: list[list[str]],
    reasons: list[str],
    reached: list[str],
) -> None:
    class Redirect(Handler):
        def respond(self, _: Site) -> None:
            self.answer(302, b"", f"http://{NAME}/")

    connected = lead_into(trap, monkeypatch)
    with serving("127.0.0.2", Redirect) as site, resolving({NAME: lookups}, monkeypatch) as server:
        assert [refusal(site.url, allowed=network("127.0.0.2/32")) for _ in range(2)] == reasons
        assert server.questions[NAME, A] == 2
    assert [host for host in connected if host != "127.0.0.2"] == reached
    assert trap.connections() == 0


def test_a_name_that_flips_at_a_redirect_to_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Again(Handler):
        def respond(self, _: Site) -> None:
            self.answer(302, b"", "/photo")

    with (
        serving("127.0.0.2", Again) as site,
        trapped(site.server_port) as trap,
        resolving({NAME: [["127.0.0.2"], ["127.0.0.1"]]}, monkeypatch) as server,
    ):
        url = f"http://{NAME}:{site.server_port}/"
        assert refusal(url, allowed=network("127.0.0.2/32")) == "ImageUrlNotAllowed"
        assert server.questions == {(NAME, A): 2, (NAME, AAAA): 2}
        assert site.visits == ["/"]
        assert trap.connections() == 0
