"""Share links of Google Drive and Dropbox become downloads; their pages are told from photos."""

import asyncio
from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import parse_qs, urlsplit

import pytest

from app.domain import UrlImage
from app.errors import InvalidImageUrlException
from app.images import links
from app.images.folders import FolderReader
from app.images.links import direct
from app.images.s3 import S3Reader
from app.images.sources import ImageSources
from app.images.storage import PhotoStorage
from app.images.supabase import SupabaseReader
from app.images.url import UrlFetcher
from app.metrics import Metrics
from app.settings import Settings
from tests import photos
from tests.loopback import Handler, Site, serving

ID = "1AbC-d_EfGhIjKlMnOpQrStUvWxYz"


@pytest.mark.parametrize(
    "link",
    [
        f"https://drive.google.com/file/d/{ID}/view?usp=sharing",
        f"https://drive.google.com/file/d/{ID}/view?usp=drive_link",
        f"https://drive.google.com/file/d/{ID}/edit",
        f"https://drive.google.com/file/d/{ID}",
        f"https://drive.google.com/file/u/0/d/{ID}/view",
        f"https://drive.google.com/a/example.org/file/d/{ID}/view",
        f"https://drive.google.com/open?id={ID}",
        f"https://drive.google.com/uc?export=view&id={ID}",
        f"http://DRIVE.google.com./file/d/{ID}/view#x",
    ],
)
def test_drive_links_become_downloads(link: str) -> None:
    parts = urlsplit(direct(link))
    assert (parts.scheme, parts.hostname, parts.path) == (
        "https",
        "drive.usercontent.google.com",
        "/download",
    )
    assert parse_qs(parts.query)["id"] == [ID]


def test_a_resource_key_is_kept() -> None:
    query = urlsplit(direct(f"https://drive.google.com/file/d/{ID}/view?resourcekey=0-abc")).query
    assert parse_qs(query)["resourcekey"] == ["0-abc"]


@pytest.mark.parametrize(
    ("link", "download"),
    [
        ("https://www.dropbox.com/s/abc/a%20b.jpg?dl=0", "https://www.dropbox.com/s/abc/a%20b.jpg?dl=1"),
        ("https://www.dropbox.com/s/abc/a.jpg", "https://www.dropbox.com/s/abc/a.jpg?dl=1"),
        (
            "https://www.dropbox.com/scl/fi/x/a.jpg?rlkey=k&st=t&dl=0",
            "https://www.dropbox.com/scl/fi/x/a.jpg?rlkey=k&st=t&dl=1",
        ),
        ("http://dropbox.com/scl/fi/x/a.jpg?raw=1#p", "https://www.dropbox.com/scl/fi/x/a.jpg?dl=1"),
    ],
)
def test_dropbox_links_become_downloads(link: str, download: str) -> None:
    assert direct(link) == download


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/file/d/1AbC-d_EfGhIjKlMnOpQrStUvWxYz/view",
        "https://drive.google.com.example.org/file/d/1AbC-d_EfGhIjKlMnOpQrStUvWxYz/view",
        "https://dl.dropboxusercontent.com/s/abc/a.jpg",
        "https://drive.usercontent.google.com/download?id=1AbC-d_EfGhIjKlMnOpQrStUvWxYz",
        "http://[::1",
        "ftp://drive.google.com/file/d/x",
        "",
    ],
)
def test_other_urls_stay_as_they_are(url: str) -> None:
    assert direct(url) == url


@pytest.mark.parametrize(
    "link",
    [
        "https://drive.google.com/drive/folders/1AbC-d_EfGhIjKlMnOpQrStUvWxYz",
        "https://drive.google.com/file/d/",
        "https://drive.google.com/open?id=../x",
        "https://drive.google.com/",
        "https://www.dropbox.com/scl/fo/abc/xyz?rlkey=k",
        "https://www.dropbox.com/sh/abc/xyz",
        "https://www.dropbox.com/home",
    ],
)
def test_links_of_folders_are_refused(link: str) -> None:
    with pytest.raises(InvalidImageUrlException) as caught:
        direct(link)
    assert caught.value.reason == "ImageUrlInvalid"


class Drive(Handler):
    """Answers a shared file, and its sign-in page for one that is not."""

    def respond(self, site: Site) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        if asked["id"] == [ID]:
            self.answer(200, photos.astronaut())
        else:
            self.answer(200, b"\n<!DOCTYPE html><html>Sign in</html>")


@pytest.fixture
def sources() -> Iterator[ImageSources]:
    settings = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings' own
    urls = UrlFetcher(timeout_s=5, allowed=[ip_network("127.0.0.1/32")], enabled=True)
    s3 = S3Reader(settings)
    supabase = SupabaseReader(settings)
    folders = FolderReader(settings)
    yield ImageSources(urls, s3, supabase, folders, PhotoStorage(settings, s3, supabase), Metrics())
    s3.close()
    folders.close()


def test_a_shared_file_is_downloaded_and_a_private_one_is_told(
    sources: ImageSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(handler=Drive) as site:
        monkeypatch.setattr(links, "DRIVE_DOWNLOAD", f"{site.url}/download")
        shared = UrlImage(f"https://drive.google.com/file/d/{ID}/view?usp=sharing")
        assert asyncio.run(sources.fetch(shared, 10_000_000)) == photos.astronaut()
        private = UrlImage("https://drive.google.com/file/d/0000000000000/view")
        with pytest.raises(InvalidImageUrlException) as caught:
            asyncio.run(sources.fetch(private, 10_000_000))
        assert caught.value.reason == "ImageUrlNotShared"
