"""Photos by URL, from public addresses only.

A name is resolved once, every address it has must be public, and the connection goes to the address
that was checked, with the original Host header and server name. Each redirect is checked again, also
against the list of allowed hosts where there is one.
No proxy and no credential of the environment is used.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeAlias

import httpcore
import httpx

from app.errors import ImageTooLargeException, InvalidImageUrlException, ThrottlingException

MAX_REDIRECTS = 5
_SCHEMES = ("http", "https")
_NAT64 = IPv6Network("64:ff9b::/96")
# Special addresses that `is_global` of some Python versions lets through, and one that a cloud uses for
# its metadata although it is global.
_NEVER = (
    IPv4Network("168.63.129.16/32"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("198.18.0.0/15"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("3fff::/20"),
    IPv6Network("2001::/23"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("5f00::/16"),
)
_PUBLIC_PORTS = (80, 443)
# Stricter than httpx, which lets through what no name holds, such as percent signs and backslashes.
_HOST_NAME = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_DNS_THREADS = 16
MAX_PENDING = 64
_USER_AGENT = b"svc-face-recon"

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class _Refused(Exception):
    """The address is not one that a client may make the service connect to."""


def is_public(address: Address) -> bool:
    """Whether an address is global, also the IPv4 address that an IPv6 address wraps."""
    if isinstance(address, IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            wrapped = IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(wrapped)
        if address.teredo is not None or address.is_site_local:
            return False
    if any(address in network for network in _NEVER if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._tcp = httpcore.AnyIOBackend()
        # Of its own: a slow name server must not hold up other work of the default threads.
        self._dns = ThreadPoolExecutor(_DNS_THREADS, thread_name_prefix="dns")

    def close(self) -> None:
        self._dns.shutdown(wait=False, cancel_futures=True)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        for address in addresses:
            if any(address in network for network in self._allowed if network.version == address.version):
                continue
            if not is_public(address) or port not in _PUBLIC_PORTS:
                raise _Refused
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in addresses[:3]:
            try:
                return await self._tcp.connect_tcp(str(address), port, timeout=timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("no address")

    async def _resolve(self, host: str, port: int) -> list[Address]:
        try:
            return [ip_address(host.strip("[]"))]
        except ValueError:
            pass
        loop = asyncio.get_running_loop()
        lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await loop.run_in_executor(self._dns, lookup)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name does not resolve") from error
        return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class UrlFetcher:
    """Fetches images over http and https.

    Args:
        timeout_s: for the whole fetch, redirects included.
        allowed: networks that are allowed although they are not public.
        enabled: False refuses every URL.
        hosts: the only hosts that are allowed, `*.` before a name for all below it; empty for any. In
            lower case, IDNA and without a dot at the end, as the settings hold them.
    """

    def __init__(
        self, *, timeout_s: float, allowed: Sequence[Network], enabled: bool, hosts: Collection[str] = ()
    ) -> None:
        self._timeout_s = timeout_s
        self._enabled = enabled
        self._hosts = frozenset(host for host in hosts if not host.startswith("*."))
        self._parents = tuple(host.removeprefix("*") for host in hosts if host.startswith("*."))
        self._pending = 0
        self._backend = _CheckedBackend(allowed)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=MAX_PENDING,
            max_keepalive_connections=0,
            network_backend=self._backend,
        )

    async def fetch(self, url: str, max_bytes: int) -> bytes:
        """The body that a URL leads to.

        Raises:
            InvalidImageUrlException: not http(s), not allowed, unreachable, or no 200 at its end.
            ImageTooLargeException: more than `max_bytes`.
            ThrottlingException: too many fetches are under way.
        """
        if not self._enabled:
            raise InvalidImageUrlException("Images by URL are switched off", reason="ImageUrlsOff")
        if self._pending >= MAX_PENDING:
            raise ThrottlingException
        self._pending += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url, max_bytes)
        except TimeoutError as error:
            raise InvalidImageUrlException("The image URL took too long", reason="ImageUrlTimeout") from error
        finally:
            self._pending -= 1

    async def _follow(self, url: str, max_bytes: int) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            target = self._check(url)
            headers = [(b"Host", target.netloc), (b"Accept", b"image/*"), (b"User-Agent", _USER_AGENT)]
            try:
                where = httpcore.URL(
                    scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
                )
                async with self._pool.stream("GET", where, headers=headers) as response:
                    location = _header(response, b"location")
                    if response.status in (301, 302, 303, 307, 308) and location:
                        url = _joined(target, location)
                        continue
                    if response.status != 200:
                        raise InvalidImageUrlException(
                            f"The image URL answered {response.status}", reason="ImageUrlStatus"
                        )
                    return await _read(response, max_bytes)
            except _Refused as error:
                raise _not_allowed() from error
            except (
                httpcore.NetworkError,
                httpcore.TimeoutException,
                httpcore.ProtocolError,
                httpx.InvalidURL,
                ssl.SSLError,
                OSError,
            ) as error:
                raise InvalidImageUrlException(
                    "The image URL could not be reached", reason="ImageUrlUnreachable"
                ) from error
        raise InvalidImageUrlException("The image URL redirects too often", reason="ImageUrlRedirects")

    def _check(self, url: str) -> httpx.URL:
        try:
            target = httpx.URL(url)
            host = target.raw_host.decode("ascii")
        except (httpx.InvalidURL, ValueError) as error:
            raise _invalid() from error
        if not _is_host(host) or not (target.port is None or 0 < target.port < 65_536):
            raise _invalid()
        if target.scheme not in _SCHEMES:
            raise InvalidImageUrlException("The image URL must be http or https", reason="ImageUrlInvalid")
        if target.userinfo:
            raise InvalidImageUrlException("The image URL must hold no password", reason="ImageUrlInvalid")
        if not self._is_listed(host.removesuffix(".")):
            raise InvalidImageUrlException(
                "The image URL's host is not one of the allowed hosts", reason="ImageUrlNotAllowed"
            )
        return target

    def _is_listed(self, host: str) -> bool:
        if not self._hosts and not self._parents:
            return True
        return host in self._hosts or host.endswith(self._parents)

    async def aclose(self) -> None:
        await self._pool.aclose()
        self._backend.close()


def _is_host(host: str) -> bool:
    if ":" in host:  # an IPv6 address, which httpx has parsed; zones are of this machine
        return "%" not in host
    return _HOST_NAME.fullmatch(host) is not None


def _joined(base: httpx.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except (httpx.InvalidURL, ValueError) as error:
        raise _invalid() from error


def _invalid() -> InvalidImageUrlException:
    return InvalidImageUrlException("The image URL is not a URL", reason="ImageUrlInvalid")


def _not_allowed() -> InvalidImageUrlException:
    return InvalidImageUrlException(
        "The image URL does not lead to a public address", reason="ImageUrlNotAllowed"
    )


def _header(response: httpcore.Response, name: bytes) -> str | None:
    for key, value in response.headers:
        if key.lower() == name:
            return str(value.decode("latin-1"))
    return None


async def _read(response: httpcore.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise ImageTooLargeException
    return bytes(body)
