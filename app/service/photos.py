"""Where a photo lies, as one text that is stored beside its faces, so that they can be embedded anew."""

from urllib.parse import urlsplit

from app.domain import FolderImage, ImageSource, InlineImage, S3Image, StoredImage, SupabaseImage, UrlImage
from app.images.links import drive_file

_S3 = "s3://"
_SUPABASE = "supabase:"
_FOLDER = "file://"
_STORED = "stored:"
_MAX = 4096


def reference_of(source: ImageSource) -> str | None:
    """What to remember of an image's source; None for uploads and for URLs that may hold a signature."""
    if isinstance(source, S3Image):
        return f"{_S3}{source.bucket}/{source.key}"
    if isinstance(source, SupabaseImage):
        return f"{_SUPABASE}{source.bucket}/{source.path}"
    if isinstance(source, FolderImage):
        return f"{_FOLDER}{source.path}"
    if isinstance(source, StoredImage):
        return stored_reference(source.key)
    if isinstance(source, InlineImage) or len(source.url) > _MAX:
        return None
    shared = drive_file(source.url)
    if shared is not None:
        return shared
    try:
        return None if urlsplit(source.url).query else source.url
    except ValueError:
        return None


def stored_reference(key: str) -> str:
    """What to remember of a file in the service's own storage."""
    return f"{_STORED}{key}"


def source_of(reference: str, account_id: str) -> ImageSource:
    """The source that a reference stands for, for the account that it belongs to.

    Raises:
        ValueError: it names a file of the service's own storage that is another account's.
    """
    if reference.startswith(_S3):
        bucket, _, key = reference.removeprefix(_S3).partition("/")
        return S3Image(account_id, bucket, key)
    if reference.startswith(_SUPABASE):
        bucket, _, path = reference.removeprefix(_SUPABASE).partition("/")
        return SupabaseImage(account_id, bucket, path)
    if reference.startswith(_FOLDER):
        return FolderImage(account_id, reference.removeprefix(_FOLDER))
    if reference.startswith(_STORED):
        key = reference.removeprefix(_STORED)
        if not key.startswith(f"{account_id}/"):
            raise ValueError("a reference to a file of another account")
        return StoredImage(key)
    return UrlImage(reference)
