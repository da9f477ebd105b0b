"""Many files in one multipart request, handed on one by one as they come: never all of them in memory."""

from collections.abc import AsyncIterator

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import InvalidParameterException, SerializationException, UnsupportedMediaTypeException
from app.service.album_photos import Upload

FIELDS = frozenset({"file", "files", "photo", "photos", "image"})
_HEADERS_MAX = 16 * 1024


class _Parts:
    """Collects the parts of a multipart body; what is complete waits in `ready`."""

    def __init__(self, max_bytes: int) -> None:
        self.ready: list[Upload] = []
        self.refused: str | None = None
        self._max_bytes = max_bytes
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._data = bytearray()

    def on_part_begin(self) -> None:
        self._headers = {}
        self._header_name = self._header_value = b""
        self._data = bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]
        self._confirm_headers()

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]
        self._confirm_headers()

    def on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        # One byte too many is kept: it is what makes the file too large.
        self._data += data[start : min(end, start + self._max_bytes + 1 - len(self._data))]

    def on_part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"filename", b"").decode("utf-8", "replace")
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if not name and not self._data:
            return  # what a browser sends for a field that was left empty
        if field not in FIELDS:
            self.refused = "Photos are sent as files, in fields of the name `files`"
        self.ready.append(Upload(name, bytes(self._data)))
        self._data = bytearray()

    def _confirm_headers(self) -> None:
        if len(self._header_name) + len(self._header_value) > _HEADERS_MAX:
            raise SerializationException("The multipart body could not be read")


async def files_of(request: Request, max_bytes: int) -> AsyncIterator[Upload]:
    """The files of a multipart body; of one that is larger than `max_bytes`, one byte more.

    Raises:
        UnsupportedMediaTypeException: no multipart body.
        SerializationException: it is not well formed, or ends early.
        InvalidParameterException: a field that is not a file of photos.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise UnsupportedMediaTypeException("Send the photos as multipart/form-data")
    parts = _Parts(max_bytes)
    ended = False

    def end() -> None:
        nonlocal ended
        ended = True

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": parts.on_part_begin,
            "on_part_data": parts.on_part_data,
            "on_part_end": parts.on_part_end,
            "on_header_field": parts.on_header_field,
            "on_header_value": parts.on_header_value,
            "on_header_end": parts.on_header_end,
            "on_end": end,
        },
    )
    try:
        async for chunk in request.stream():
            parser.write(chunk)
            if parts.refused is not None:
                raise InvalidParameterException(parts.refused, reason="InvalidField")
            for upload in parts.ready:
                yield upload
            parts.ready.clear()
    except MultipartParseError as error:
        raise SerializationException("The multipart body could not be read") from error
    if not ended:
        raise SerializationException("The multipart body ends before its end")
