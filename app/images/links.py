"""Share links of Google Drive and Dropbox, turned into the addresses that download the file."""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

from app.errors import InvalidImageUrlException

DRIVE_DOWNLOAD = "https://drive.usercontent.google.com/download"
DROPBOX = "https://www.dropbox.com"
_DRIVE_HOSTS = frozenset({"drive.google.com", "www.drive.google.com", "docs.google.com"})
_DRIVE_FILE = re.compile(r"/(?:a/[^/]+/)?file/(?:u/\d+/)?d/([\w-]+)(?:/.*)?", re.ASCII)
_DRIVE_ID = re.compile(r"[\w-]{10,}", re.ASCII)
_DROPBOX_HOSTS = frozenset({"dropbox.com", "www.dropbox.com"})
_DROPBOX_FILE = re.compile(r"/(s|scl/fi)/.+")


def direct(url: str) -> str:
    """The address of the file that a share link shows; any other URL as it is.

    Raises:
        InvalidImageUrlException: the link is of a folder, or names no file.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
    except ValueError:
        return url  # the fetcher says what is wrong with it
    if parts.scheme not in ("http", "https"):
        return url
    if host in _DRIVE_HOSTS:
        return _drive(parts.path, dict(parse_qsl(parts.query)))
    if host in _DROPBOX_HOSTS:
        if not _DROPBOX_FILE.fullmatch(parts.path):
            raise _no_file("Dropbox")
        query = [(name, value) for name, value in parse_qsl(parts.query) if name not in ("dl", "raw")]
        return f"{DROPBOX}{parts.path}?{urlencode([*query, ('dl', '1')])}"
    return url


def drive_file(url: str) -> str | None:
    """The share link of a file in Google Drive without anything but its id; None for other URLs."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
    except ValueError:
        return None
    query = dict(parse_qsl(parts.query))
    file_id = _drive_id(parts.path, query) if host in _DRIVE_HOSTS else None
    if file_id is None or "resourcekey" in query:
        return None
    return f"https://drive.google.com/file/d/{file_id}/view"


def _drive_id(path: str, query: dict[str, str]) -> str | None:
    found = _DRIVE_FILE.fullmatch(path)
    file_id = found[1] if found else query.get("id", "") if path in ("/open", "/uc") else ""
    return file_id if _DRIVE_ID.fullmatch(file_id) else None


def _drive(path: str, query: dict[str, str]) -> str:
    file_id = _drive_id(path, query)
    if file_id is None:
        raise _no_file("Google Drive")
    wanted = {"id": file_id, "export": "download", "confirm": "t"}
    if "resourcekey" in query:  # older links need it
        wanted["resourcekey"] = query["resourcekey"]
    return f"{DRIVE_DOWNLOAD}?{urlencode(wanted)}"


def _no_file(service: str) -> InvalidImageUrlException:
    return InvalidImageUrlException(
        f"The {service} link is not the share link of a file", reason="ImageUrlInvalid"
    )
