"""Ids that people write, in the form that Rekognition's patterns allow."""

import hashlib
import re
import unicodedata
from uuid import NAMESPACE_URL, UUID, uuid5

from app.domain import PublicId
from app.errors import InvalidParameterException

USER_ID_MAX = 128
EXTERNAL_IMAGE_ID_MAX = 255
_ALLOWED = re.compile(r"[a-zA-Z0-9_.\-:]+")
_DERIVED = "id-sha256:"
_IMAGES = uuid5(NAMESPACE_URL, "urn:svc-face-recon:image")


def public_id(written: str, field: str, safe_max: int) -> PublicId:
    """An id of up to 255 printable characters, with its form for Rekognition.

    An id that fits Rekognition's pattern and `safe_max` is its own form; any other gets one derived
    from its hash, so equal ids always meet and different ids never do.

    Raises:
        InvalidParameterException: empty, too long, or not printable.
    """
    written = unicodedata.normalize("NFC", written)  # two ways to type one letter are one id
    if not 1 <= len(written) <= 255 or not written.isprintable() or not written.strip():
        raise InvalidParameterException(f"{field} must be 1 to 255 printable characters", reason="InvalidId")
    if len(written) <= safe_max and _ALLOWED.fullmatch(written) and not written.startswith(_DERIVED):
        return PublicId(written, written)
    return PublicId(written, _DERIVED + hashlib.sha256(written.encode()).hexdigest())


def image_id(data: bytes) -> UUID:
    """The id of an image: the same bytes have the same id (UUIDv5 of their SHA-256)."""
    return uuid5(_IMAGES, hashlib.sha256(data).hexdigest())
