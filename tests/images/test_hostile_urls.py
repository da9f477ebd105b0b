"""Every URL of the corpus is refused, and nobody is connected to for it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.dns import resolving
from tests.images.fetching import Trap, lead_into, network, refusal, trapped
from tests.images.hostile import NOT_A_URL, NOT_ALLOWED, UNREACHABLE, ZONE

CORPUS = [
    *((url, "ImageUrlNotAllowed") for url in NOT_ALLOWED),
    *((url, "ImageUrlInvalid") for url in NOT_A_URL),
    *((url, "ImageUrlUnreachable") for url in UNREACHABLE),
]


@dataclass
class Surroundings:
    trap: Trap
    connected: list[str]


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    """A trap that all connections lead into, and a name server."""
    with trapped() as trap, resolving(ZONE, monkeypatch):
        yield Surroundings(trap, lead_into(trap, monkeypatch))


def test_the_corpus_is_large() -> None:
    assert len({url for url, _ in CORPUS}) == len(CORPUS) > 200


@pytest.mark.parametrize(("url", "reason"), CORPUS, ids=lambda value: ascii(value)[1:60])
def test_a_hostile_url_is_refused_and_leads_nowhere(
    surroundings: Surroundings, url: str, reason: str
) -> None:
    assert refusal(url.replace("{port}", str(surroundings.trap.port))) == reason
    assert surroundings.connected == []
    assert surroundings.trap.connections() == 0


@pytest.mark.parametrize("host", ["localhost", "LocalHost"])
def test_localhost_is_refused_as_the_system_resolves_it(host: str) -> None:
    with trapped() as trap:
        assert refusal(f"http://{host}:{trap.port}/") == "ImageUrlNotAllowed"
        assert trap.connections() == 0


@pytest.mark.parametrize("url", ["http://127.1/", "http://localtest.me/", "http://127.0.0.1:{port}/"])
def test_the_trap_counts_who_is_allowed(surroundings: Surroundings, url: str) -> None:
    url = url.replace("{port}", str(surroundings.trap.port))
    assert refusal(url, allowed=network("127.0.0.1/32"), timeout_s=0.2) == "ImageUrlTimeout"
    assert surroundings.trap.connections() == 1
    assert surroundings.connected == ["127.0.0.1"]


def test_public_addresses_are_connected_to(surroundings: Surroundings) -> None:
    for url in ("http://public.example.org/", "https://93.184.216.34/", "http://1572395042:443/"):
        assert refusal(url) == "ImageUrlUnreachable"
    assert surroundings.connected == ["93.184.216.34"] * 3
