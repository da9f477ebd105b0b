"""A server that answers as Supabase Storage's REST API is documented to."""

import hashlib
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

    `site.broken` counts requests that are to fail, `site.delay_s` is how long each takes, `site.weak`
    says whether ETags come as those of a proxy that compresses.
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
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        known = self.headers["If-None-Match"] == etag
        self.send_response(304 if known else 200)
        self.send_header("ETag", f"W/{etag}" if site.weak else etag)
        self.send_header("Content-Length", "0" if known else str(len(data)))
        self.end_headers()
        if not known:
            self.wfile.write(data)
        return None

    def do_POST(self) -> None:  # noqa: N802  # http.server's name
        site = self.server
        assert isinstance(site, SupabaseSite)
        site.visits.append(self.path)
        time.sleep(site.delay_s)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if site.nonsense:
            return self.answer(200, b'{"error": "x"}')
        if not self.has_key():
            return self.problem(400, "403", "Unauthorized", "Invalid JWT")
        if not self.path.startswith(f"{_OBJECT}/list/"):
            return self.upload(site, unquote(self.path).removeprefix(f"{_OBJECT}/"), body)
        asked = json.loads(body)
        bucket = self.path.removeprefix(f"{_OBJECT}/list/")
        folder = f"{bucket}/{asked['prefix']}".rstrip("/") + "/"
        names = sorted(
            {name.removeprefix(folder).split("/")[0] for name in site.files if name.startswith(folder)}
        )
        page = names[asked["offset"] : asked["offset"] + asked["limit"]]
        rows = [_row(name, site.files.get(f"{folder}{name}")) for name in page]
        return self.answer(200, json.dumps(rows).encode())

    def upload(self, site: "SupabaseSite", name: str, data: bytes) -> None:
        if name.split("/")[0] == "no-such-bucket":
            return self.problem(400, "404", "Bucket not found", "Bucket not found")
        if name in site.files and self.headers["x-upsert"] != "true":
            return self.problem(400, "409", "Duplicate", "The resource already exists")
        site.files[name] = data
        return self.answer(200, json.dumps({"Key": name, "Id": "an-id"}).encode())

    def do_DELETE(self) -> None:  # noqa: N802  # http.server's name
        site = self.server
        assert isinstance(site, SupabaseSite)
        site.visits.append(self.path)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.has_key():
            return self.problem(400, "403", "Unauthorized", "Invalid JWT")
        bucket = self.path.removeprefix(f"{_OBJECT}/")
        gone = [name for name in asked["prefixes"] if site.files.pop(f"{bucket}/{name}", None) is not None]
        return self.answer(200, json.dumps([{"name": name} for name in gone]).encode())

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
    weak = False


def _row(name: str, data: bytes | None) -> dict[str, object]:
    """What a listing says of a file, or of a folder."""
    if data is None:
        return {"name": name, "id": None, "updated_at": None, "metadata": None}
    about = {"eTag": f'"{hashlib.md5(data).hexdigest()}"', "size": len(data), "mimetype": "image/jpeg"}
    return {"name": name, "id": "an-id", "updated_at": "2026-01-02T03:04:05.678Z", "metadata": about}


@contextmanager
def supabase() -> Iterator[SupabaseSite]:
    """A storage without objects."""
    with serving(handler=Storage, site=SupabaseSite) as site:
        assert isinstance(site, SupabaseSite)
        yield site


def settings_for(site: Site) -> dict[str, str]:
    """The service's settings for a storage."""
    return {"SUPABASE_URL": site.url, "SUPABASE_SERVICE_ROLE_KEY": SERVICE_ROLE_KEY}
