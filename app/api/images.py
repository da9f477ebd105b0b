"""How requests of the REST and member doors name an image."""

import binascii
import re
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.api import limits
from app.api.body import Body
from app.domain import Caller, ImageInput, ImageSource, InlineImage, S3Image, UrlImage
from app.errors import InvalidParameterException
from app.settings import Settings

_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w.=-]+)*;base64,", re.ASCII)
_DATA_URL_MAX = 256


def _decode_base64(value: Any) -> Any:
    if not isinstance(value, str):
        raise PydanticCustomError("base64", "is base64 text")
    prefix = _DATA_URL.match(value, 0, _DATA_URL_MAX)
    text = value[prefix.end() :] if prefix else value
    try:
        return binascii.a2b_base64(text.encode("ascii").translate(None, b" \t\r\n"), strict_mode=True)
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

UPLOADS = frozenset({"file", "image"})


class WithImage(Body):
    """Exactly one of these names the image."""

    file: bytes | None = Field(default=None, repr=False)
    image: bytes | None = Field(default=None, repr=False)
    image_base64: Base64 | None = Field(default=None, repr=False)
    image_url: Url | None = None
    s3_bucket: S3Bucket | None = None
    s3_key: S3Key | None = None

    def given_image(self, settings: Settings, caller: Caller) -> ImageInput | None:
        """The image, or None when the request names none."""
        found = _sources((self.file, self.image, self.image_base64), self.image_url)
        if (self.s3_bucket is None) != (self.s3_key is None):
            raise InvalidParameterException("s3_bucket and s3_key go together", reason="InvalidImageFields")
        if self.s3_bucket is not None and self.s3_key is not None:
            found.append(S3Image(caller.account_id, self.s3_bucket, self.s3_key))
        if len(found) > 1:
            raise InvalidParameterException(
                "The request names more than one image", reason="InvalidImageFields"
            )
        return limits.rest(found[0], settings) if found else None

    def required_image(self, settings: Settings, caller: Caller) -> ImageInput:
        """The image; InvalidParameterException when the request names none."""
        return required(
            self.given_image(settings, caller),
            "file, image, image_base64, image_url or s3_bucket with s3_key",
        )


def required(image: ImageInput | None, fields: str) -> ImageInput:
    """The image; InvalidParameterException when there is none."""
    if image is None:
        raise InvalidParameterException(f"An image is missing: send {fields}", reason="InvalidImageFields")
    return image


def one_of(inline: tuple[bytes | None, ...], url: str | None, settings: Settings) -> ImageInput | None:
    """The image that exactly one of several fields holds, or None."""
    found = _sources(inline, url)
    if len(found) > 1:
        raise InvalidParameterException("The request names an image twice", reason="InvalidImageFields")
    return limits.rest(found[0], settings) if found else None


def _sources(inline: tuple[bytes | None, ...], url: str | None) -> list[ImageSource]:
    found: list[ImageSource] = [InlineImage(data) for data in inline if data is not None]
    if url is not None:
        found.append(UrlImage(url))
    return found
