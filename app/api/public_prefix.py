"""ROOT_PATH without a slash behind it is the root: AWS clients post to their endpoint as it was given."""

from starlette.types import ASGIApp, Receive, Scope, Send


class PublicPrefix:
    """ASGI middleware for a proxy that leaves the public prefix in the path.

    Args:
        app: what lies behind the prefix.
        prefix: ROOT_PATH, such as `/face`.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == self._prefix:
            scope = {**scope, "path": f"{self._prefix}/"}
        await self._app(scope, receive, send)
