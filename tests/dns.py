"""A name server of the tests' own, over UDP on loopback, and a resolver that asks it."""

import socket
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from threading import Thread
from typing import Any

import pytest

A, AAAA = 1, 28
_TYPE_OF_VERSION = {4: A, 6: AAAA}
_HEADER = struct.Struct("!6H")  # id, flags, and the counts of questions, answers, authorities, additionals
_QUESTION = struct.Struct("!2H")  # type, class
_RECORD = struct.Struct("!3HIH")  # pointer to the name, type, class, time to live, length of the data
_NAME_OF_QUESTION = 0xC000 | _HEADER.size
_IN = 1
_system_getaddrinfo = socket.getaddrinfo


class NameServer:
    """Answers A and AAAA questions with a time to live of 0.

    `zone` gives each name the addresses that it has at its first lookup, its second and so on; after the
    last come the first again. A name that is not in it does not exist.
    """

    def __init__(self, zone: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self.zone = zone
        self.questions: Counter[tuple[str, int]] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))

    def serve(self) -> None:
        """Until an empty datagram comes."""
        while True:
            packet, client = self._socket.recvfrom(4096)
            if not packet:
                return
            self._socket.sendto(self._answer(packet), client)

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"", self._socket.getsockname())

    def close(self) -> None:
        self._socket.close()

    def _answer(self, packet: bytes) -> bytes:
        number = _HEADER.unpack_from(packet)[0]
        name, end = _read_name(packet, _HEADER.size)
        kind, _ = _QUESTION.unpack_from(packet, end)
        lookups = self.zone.get(name, ())
        addresses = lookups[self.questions[name, kind] % len(lookups)] if lookups else ()
        self.questions[name, kind] += 1
        found = [a.packed for a in map(ip_address, addresses) if _TYPE_OF_VERSION[a.version] == kind]
        flags = 0x8180 if lookups else 0x8183  # a response; NXDOMAIN
        records = (_RECORD.pack(_NAME_OF_QUESTION, kind, _IN, 0, len(data)) + data for data in found)
        question = packet[_HEADER.size : end + _QUESTION.size]
        return _HEADER.pack(number, flags, 1, len(found), 0, 0) + question + b"".join(records)

    def lookup(self, name: str, kind: int) -> list[str]:
        """What a client reads out of the server's answer."""
        labels = (bytes([len(label)]) + label.encode() for label in name.split("."))
        question = b"".join(labels) + b"\0" + _QUESTION.pack(kind, _IN)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(_HEADER.pack(7, 0x0100, 1, 0, 0, 0) + question, self._socket.getsockname())
            packet = client.recv(4096)
        found = []
        offset = _HEADER.size + len(question)
        for _ in range(_HEADER.unpack_from(packet)[3]):
            *_, length = _RECORD.unpack_from(packet, offset)
            offset += _RECORD.size + length
            found.append(str(ip_address(packet[offset - length : offset])))
        return found

    def getaddrinfo(self, host: str, port: int, *_: int, **__: int) -> list[Any]:
        """As `socket.getaddrinfo` for streams, but that names are asked of this server."""
        with suppress(socket.gaierror):
            return _numeric(host, port)
        name = host.encode("idna").decode().removesuffix(".").lower()
        addresses = self.lookup(name, A) + self.lookup(name, AAAA) if len(name) <= 253 else []
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [entry for address in addresses for entry in _numeric(address, port)]


def _numeric(host: str, port: int) -> list[Any]:
    return _system_getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)


def _read_name(packet: bytes, offset: int) -> tuple[str, int]:
    labels = []
    while length := packet[offset]:
        labels.append(packet[offset + 1 : offset + 1 + length].decode())
        offset += 1 + length
    return ".".join(labels).lower(), offset + 1


@contextmanager
def resolving(
    zone: Mapping[str, Sequence[Sequence[str]]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[NameServer]:
    """A server of these names that all of this process asks while this is open."""
    server = NameServer(zone)
    thread = Thread(target=server.serve)
    thread.start()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", server.getaddrinfo)
            yield server
    finally:
        server.stop()
        thread.join()
        server.close()
