"""A server that answers as Supabase Storage's REST API is documented to."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback import Handler, Site, serving

SERVICE_ROLE_KEY = "service-role-key-of-the-tests"
_OBJECT = "/storage/v1/object"


class Storage(Handler):
    """`site.files` holds objects by `bucket/path`.

    `site.broken` counts requests that are to fail, `site.delay_s` is how long each takes.
    """

    def do_GET(self) -> None:  # noqa: N802  # http.server's name
        site = self.server
        assert isinstance(site, SupabaseSite)
        site.visits.append(self.path)
        time.sleep(site.delay_s)
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if site.broken > 0:
            site.broken -= 1
            return self.problem(503, "503", "Unavailable", "try again")
        if path.startswith(f"{_OBJECT}/public/"):
            name, allowed = path.removeprefix(f"{_OBJECT}/public/"), True
        elif path.startswith(f"{_OBJECT}/sign/"):
            name = path.removeprefix(f"{_OBJECT}/sign/")
            allowed = parse_qs(parts.query).get("token") == ["signed"]
        else:
            name = path.removeprefix(f"{_OBJECT}/authenticated/").removeprefix(f"{_OBJECT}/")
            allowed = self.has_key()
        if not allowed:
            return self.problem(400, "403", "Unauthorized", "Invalid JWT")
        data = site.files.get(name)
        if data is None:
            return self.problem(400, "404", "not_found", "Object not found")
        return self.answer(200, data)

    def do_POST(self) -> None:  # noqa: N802  # http.server's name
        site = self.server
        assert isinstance(site, SupabaseSite)
        site.visits.append(self.path)
        time.sleep(site.delay_s)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if site.nonsense:
            return self.answer(200, b'{"error": "x"}')
        if not self.has_key():
            return self.problem(400, "403", "Unauthorized", "Invalid JWT")
        bucket = self.path.removeprefix(f"{_OBJECT}/list/")
        folder = f"{bucket}/{asked['prefix']}".rstrip("/") + "/"
        names = sorted(
            {name.removeprefix(folder).split("/")[0] for name in site.files if name.startswith(folder)}
        )
        page = names[asked["offset"] : asked["offset"] + asked["limit"]]
        rows = [{"name": name, "id": "an-id" if f"{folder}{name}" in site.files else None} for name in page]
        return self.answer(200, json.dumps(rows).encode())

    def has_key(self) -> bool:
        return (
            self.headers["Authorization"] == f"Bearer {SERVICE_ROLE_KEY}"
            and self.headers["apikey"] == SERVICE_ROLE_KEY
        )

    def problem(self, status: int, code: str, error: str, message: str) -> None:
        self.answer(status, json.dumps({"statusCode": code, "error": error, "message": message}).encode())


class SupabaseSite(Site):
    broken = 0
    delay_s = 0.0
    nonsense = False


@contextmanager
def supabase() -> Iterator[SupabaseSite]:
    """A storage without objects."""
    with serving(handler=Storage, site=SupabaseSite) as site:
        assert isinstance(site, SupabaseSite)
        yield site


def settings_for(site: Site) -> dict[str, str]:
    """The service's settings for a storage."""
    return {"SUPABASE_URL": site.url, "SUPABASE_SERVICE_ROLE_KEY": SERVICE_ROLE_KEY}
