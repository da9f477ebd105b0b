"""How requests of the REST and member doors name an image."""

import binascii
import re
from typing import Annotated, Any, TypeAlias

import pybase64
from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.api import limits
from app.api.body import Body
from app.domain import Caller, ImageInput, ImageSource, InlineImage, Role, S3Image, SupabaseImage, UrlImage
from app.errors import AccessDeniedException, InvalidImageUrlException, InvalidParameterException
from app.settings import Settings

_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w.=-]+)*;base64,", re.ASCII)
_DATA_URL_MAX = 256


def _decode_base64(value: Any) -> Any:
    if not isinstance(value, str):
        raise PydanticCustomError("base64", "is base64 text")
    prefix = _DATA_URL.match(value, 0, _DATA_URL_MAX)
    text = value[prefix.end() :] if prefix else value
    try:
        return pybase64.b64decode(text.encode("ascii").translate(None, b" \t\r\n"), validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("base64", "is not valid base64") from None


Base64: TypeAlias = Annotated[
    bytes,
    BeforeValidator(_decode_base64),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "examples": ["/9j/4AAQSkZJRg..."]}),
]
Url: TypeAlias = Annotated[str, Field(max_length=4096, examples=["https://example.org/a.jpg"])]
S3Bucket: TypeAlias = Annotated[str, Field(min_length=3, max_length=255, pattern=r"^[0-9A-Za-z._-]+$")]
S3Key: TypeAlias = Annotated[str, Field(min_length=1, max_length=1024)]

SupabasePath: TypeAlias = Annotated[
    str,
    Field(
        min_length=1, max_length=1024, examples=["membros/123.jpg"], description="In SUPABASE_STORAGE_BUCKET"
    ),
]

UPLOADS = frozenset({"file", "image"})
IMAGE_FIELDS = "image_base64, image_url, supabase_path or s3_bucket with s3_key"
_S3_URL = re.compile(r"s3://([0-9A-Za-z._-]{3,255})/(.{1,1024})", re.DOTALL)


class NamedImage(Body):
    """At most one of these names an image. `image_url` is http, https or `s3://bucket/key`; share links of
    Google Drive and Dropbox will do."""

    image_base64: Base64 | None = Field(default=None, repr=False)
    image_url: Url | None = None
    supabase_path: SupabasePath | None = None
    s3_bucket: S3Bucket | None = None
    s3_key: S3Key | None = None

    def sources(self, settings: Settings, caller: Caller) -> list[ImageSource]:
        """Every image that the fields name."""
        if (self.s3_bucket is None) != (self.s3_key is None):
            raise InvalidParameterException("s3_bucket and s3_key go together", reason="InvalidImageFields")
        found: list[ImageSource] = []
        if self.image_base64 is not None:
            found.append(InlineImage(self.image_base64))
        if self.image_url is not None:
            found.append(_linked(self.image_url, caller))
        if self.supabase_path is not None:
            found.append(supabase_image(self.supabase_path, settings, caller))
        if self.s3_bucket is not None and self.s3_key is not None:
            found.append(S3Image(caller.account_id, self.s3_bucket, self.s3_key))
        # What the service's own credentials can read is not for every user of an app.
        if caller.role is Role.SELF and any(isinstance(image, S3Image | SupabaseImage) for image in found):
            raise AccessDeniedException("App users send the photo itself, or its URL")
        if caller.role is Role.GUEST and not all(isinstance(image, InlineImage) for image in found):
            raise AccessDeniedException("Guests send the photo itself")
        return found

    def the_image(self, settings: Settings, caller: Caller) -> ImageInput:
        """The one image; InvalidParameterException when there is none, or more than one."""
        return required(_only(self.sources(settings, caller), settings), IMAGE_FIELDS)


class WithImage(NamedImage):
    """Exactly one of these names the image."""

    file: bytes | None = Field(default=None, repr=False)
    image: bytes | None = Field(default=None, repr=False)

    def sources(self, settings: Settings, caller: Caller) -> list[ImageSource]:
        uploads = [InlineImage(data) for data in (self.file, self.image) if data is not None]
        return uploads + super().sources(settings, caller)

    def given_image(self, settings: Settings, caller: Caller) -> ImageInput | None:
        """The image, or None when the request names none."""
        return _only(self.sources(settings, caller), settings)

    def required_image(self, settings: Settings, caller: Caller) -> ImageInput:
        """The image; InvalidParameterException when the request names none."""
        return required(self.given_image(settings, caller), f"file, image, {IMAGE_FIELDS}")


def image_of(asked: Body, name: str, settings: Settings, caller: Caller) -> ImageInput:
    """One image of several: its upload is the field `name`, its other fields begin with `name_`.

    Raises:
        InvalidParameterException: there is none, or more than one.
    """
    others = {field: getattr(asked, f"{name}_{field}") for field in NamedImage.model_fields}
    sources = NamedImage.model_construct(**others).sources(settings, caller)
    upload = getattr(asked, name)
    if upload is not None:
        sources.insert(0, InlineImage(upload))
    fields = ", ".join([name, *(f"{name}_{field}" for field in NamedImage.model_fields)])
    return required(_only(sources, settings), f"one of {fields}")


def required(image: ImageInput | None, fields: str) -> ImageInput:
    """The image; InvalidParameterException when there is none."""
    if image is None:
        raise InvalidParameterException(f"An image is missing: send {fields}", reason="InvalidImageFields")
    return image


def _only(found: list[ImageSource], settings: Settings) -> ImageInput | None:
    if len(found) > 1:
        raise InvalidParameterException("The request names an image twice", reason="InvalidImageFields")
    return limits.rest(found[0], settings) if found else None


def supabase_image(path: str, settings: Settings, caller: Caller) -> SupabaseImage:
    """An object of the configured bucket."""
    return SupabaseImage(caller.account_id, settings.supabase_storage_bucket, path.lstrip("/"))


def _linked(url: str, caller: Caller) -> ImageSource:
    if url.startswith("s3://"):
        named = _S3_URL.fullmatch(url)
        if named is None:
            raise InvalidImageUrlException("An S3 link is s3://bucket/key", reason="ImageUrlInvalid")
        return S3Image(caller.account_id, named[1], named[2])
    return UrlImage(url)
