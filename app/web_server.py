"""uvicorn, as this service runs it: how it begins, and how it ends without failing a request."""

import asyncio
import logging
import os
from contextlib import suppress
from socket import socket

import uvicorn

from app.api.admission import Drain
from app.main import create_app
from app.settings import Settings

log = logging.getLogger("app")

# How long connections that were open when the service stopped listening may still bring a request.
_LINGER_S = 1.0
_LOOK_S = 0.02
_FINISH_S = 30


class WebServer(uvicorn.Server):
    """Says where it listens as soon as it does, also when the system chose the port."""

    def __init__(self, settings: Settings) -> None:
        app = create_app(settings)
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,  # paths and queries may hold names
                server_header=False,
                timeout_graceful_shutdown=_FINISH_S,
                timeout_keep_alive=75,  # longer than clients and proxies keep idle connections
            )
        )
        self._drain: Drain = app.state.drain
        self._drain_s = settings.drain_seconds

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            log.info("listening on http://%s:%s, docs at http://%s:%s/docs", shown, port, shown, port)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Let load balancers notice, then take no more connections, then answer what is on its way.

        A client that keeps its connection may be sending just now: closing it would fail that request.
        From here on every answer closes its connection.
        """
        self._drain.begun = True
        log.info("stopping: %s connections", len(self.server_state.connections))
        await self._while_open(self._drain_s)
        await self._stop_listening()
        await self._while_open(_LINGER_S, until_alone=True)
        await super().shutdown(sockets)

    async def _stop_listening(self) -> None:
        """Take who stands at the door already, and close it; closing it at once would turn them away."""
        doors = [socket(fileno=os.dup(door.fileno())) for server in self.servers for door in server.sockets]
        for server in self.servers:
            server.close()
        waiting = []
        for door in doors:
            door.setblocking(False)
            door.listen(0)  # nobody joins the line any more
            with suppress(BlockingIOError), door:
                while True:
                    waiting.append(door.accept()[0])
        for client in waiting:
            client.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, client)

    def _protocol(self) -> asyncio.Protocol:
        """What speaks with a client, as uvicorn itself makes it."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # any of uvicorn's
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    async def _while_open(self, seconds: float, *, until_alone: bool = False) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline and not self.force_exit:
            if until_alone and not self.server_state.connections:
                return
            await asyncio.sleep(_LOOK_S)
