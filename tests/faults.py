"""An S3 endpoint that fails some requests: a proxy before a real server, which sees the others unchanged."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from urllib.parse import urlsplit

_HANG_S = 0.3
_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


@dataclass
class FaultyS3:
    """The proxy; `share` of the requests fail, by turns with 503 and by no answer at all."""

    url: str
    share: float
    requests: int = 0
    faults: int = 0
    _dice: random.Random = field(default_factory=random.Random, repr=False)

    def fault(self) -> str | None:
        """What to do to the next request."""
        self.requests += 1
        if self._dice.random() >= self.share:
            return None
        self.faults += 1
        return "503" if self.faults % 2 else "hang"


@contextmanager
def faulty_s3(url: str, share: float = 0.2, seed: int = 0) -> Iterator[FaultyS3]:
    """A proxy before the S3 server at `url`. The seed decides which requests fail, in order of arrival."""
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    proxy = _Proxy(where.hostname, where.port, FaultyS3("", share, _dice=random.Random(seed)))
    thread = Thread(target=lambda: asyncio.run(proxy.run()))
    thread.start()
    try:
        assert proxy.listening.wait(10)
        yield proxy.faulty
    finally:
        proxy.stop()
        thread.join()


class _Proxy:
    """One request a connection: a server that is told to close ends its answer by closing."""

    def __init__(self, host: str, port: int, faulty: FaultyS3) -> None:
        self.faulty = faulty
        self.listening = Event()
        self._where = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.faulty.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.listening.set()
        await self._over.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        names = [line.partition(b":")[0].strip().lower() for line in lines]
        named = dict(zip(names, lines, strict=True))
        if b"expect" in named:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(named.get(b"content-length", b":0").partition(b":")[2])
        body = await reader.readexactly(length)
        fault = self.faulty.fault()
        if fault == "503":
            status = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
            writer.write(status + b"Content-Length: %d\r\n\r\n" % len(_SLOW_DOWN))
            writer.write(_SLOW_DOWN if not first.startswith(b"HEAD ") else b"")
            await writer.drain()
            return
        if fault == "hang":
            await asyncio.sleep(_HANG_S)
            return
        # Neither of those that are left out is part of a signature.
        kept = [
            line for name, line in zip(names, lines, strict=True) if name not in (b"connection", b"expect")
        ]
        onward, back = await asyncio.open_connection(*self._where)
        try:
            back.write(b"\r\n".join([first, *kept, b"Connection: close", b"", b""]) + body)
            while chunk := await onward.read(65_536):
                writer.write(chunk)
                await writer.drain()
        finally:
            back.close()
