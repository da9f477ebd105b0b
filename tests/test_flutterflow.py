"""docs/flutterflow.md: its commands are run, against storages that answer as documented."""

import os
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import jwt
import pytest

from app.images import links
from tests import photos
from tests.documents import ROOT, assert_alike, run, steps
from tests.inprocess import serving_here
from tests.loopback import Handler, Site, serving
from tests.supabase import SERVICE_ROLE_KEY, supabase

DOCUMENT = ROOT / "docs" / "flutterflow.md"
KEY_ID, KEY_SECRET = "AKIAEXAMPLEEXAMPLE00", "a-long-secret-of-your-own"
JWT_SECRET = "the-jwt-secret-of-a-project-on-loopback"


class Shares(Handler):
    """A photo at every address, as the download servers of Drive and Dropbox answer."""

    def respond(self, site: Site) -> None:
        if self.path.startswith("/scl/"):
            self.answer(302, b"", "/moved")  # Dropbox sends on to where the bytes are
        else:
            self.answer(200, photos.astronaut())


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The reader's shell: a service with a Supabase project, and two photos in the folder."""
    (tmp_path / "selfie.png").write_bytes(photos.astronaut())
    (tmp_path / "group.jpg").write_bytes(photos.group())
    with supabase() as storage, serving(handler=Shares) as shares:
        storage.files["profiles/membros/123.png"] = photos.astronaut()
        storage.files["profiles/membros/124.jpg"] = photos.group()
        storage.files["profiles/membros/nobody.jpg"] = photos.without_face()
        monkeypatch.setattr(links, "DRIVE_DOWNLOAD", f"{shares.url}/download")
        monkeypatch.setattr(links, "DROPBOX", shares.url)
        with serving_here(
            tmp_path / "data",
            auth="required",
            bootstrap_access_key_id=KEY_ID,
            bootstrap_secret_access_key=KEY_SECRET,
            supabase_url=storage.url,
            supabase_service_role_key=SERVICE_ROLE_KEY,
            supabase_jwt_secret=JWT_SECRET,
            image_url_allowed_networks=(ip_network("127.0.0.1/32"),),
        ) as url:
            claims = {
                "sub": "5f0c7e1a-user-of-supabase",
                "iss": f"{storage.url}/auth/v1",
                "aud": "authenticated",
                "exp": int(time.time()) + 3600,
            }
            yield {
                "PATH": os.environ["PATH"],
                "FACE": url,
                "KEY": f"{KEY_ID}:{KEY_SECRET}",
                "TOKEN": jwt.encode(claims, JWT_SECRET, algorithm="HS256"),
            }


def test_every_command_prints_what_the_document_shows(variables: dict[str, str], tmp_path: Path) -> None:
    assert len(steps(DOCUMENT)) >= 10
    for command, shown in steps(DOCUMENT):
        assert_alike(run(["bash", "-c", command], tmp_path, variables), shown)
