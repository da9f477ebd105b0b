"""What the tests of images by URL share: one fetch, and a trap that counts who comes."""

import asyncio
import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network, ip_address
from typing import Any

import httpcore
import pytest

from app.errors import InvalidImageUrlException
from app.images.url import Network, UrlFetcher, is_public


def fetch(
    url: str,
    *,
    allowed: Sequence[Network] = (),
    hosts: Collection[str] = (),
    max_bytes: int = 1000,
    timeout_s: float = 5,
    enabled: bool = True,
) -> bytes:
    """What a fetcher of its own makes of a URL."""

    async def run() -> bytes:
        fetcher = UrlFetcher(timeout_s=timeout_s, allowed=allowed, enabled=enabled, hosts=hosts)
        try:
            return await fetcher.fetch(url, max_bytes)
        finally:
            await fetcher.aclose()

    return asyncio.run(run())


def refusal(
    url: str, *, allowed: Sequence[Network] = (), hosts: Collection[str] = (), timeout_s: float = 5
) -> str | None:
    """The reason for which a URL is refused."""
    with pytest.raises(InvalidImageUrlException) as raised:
        fetch(url, allowed=allowed, hosts=hosts, timeout_s=timeout_s)
    return raised.value.reason


def network(address: str) -> tuple[Network]:
    return (IPv4Network(address),)


class Trap:
    """Listens on loopback, IPv4 and where there is one IPv6, and never answers."""

    def __init__(self, port: int = 0) -> None:
        self._sockets = [socket.create_server(("127.0.0.1", port))]
        self.port: int = self._sockets[0].getsockname()[1]
        with suppress(OSError):
            self._sockets.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        for listener in self._sockets:
            listener.setblocking(False)

    def connections(self) -> int:
        """How many have come since the last time."""
        count = 0
        for listener in self._sockets:
            with suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()
                    count += 1
        return count

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()


@contextmanager
def trapped(port: int = 0) -> Iterator[Trap]:
    trap = Trap(port)
    try:
        yield trap
    finally:
        trap.close()


def lead_into(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make connections to the ports 80 and 443 arrive at the port of a trap, and public hosts unreachable.

    Returns:
        The hosts that were connected to, added as they come.
    """
    connected: list[str] = []
    connect = httpcore.AnyIOBackend.connect_tcp

    async def connect_tcp(
        backend: httpcore.AnyIOBackend, host: str, port: int, **options: Any
    ) -> httpcore.AsyncNetworkStream:
        connected.append(host)
        if is_public(ip_address(host)):
            raise httpcore.ConnectError("there is no internet")
        return await connect(backend, host, trap.port if port in (80, 443) else port, **options)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    return connected
