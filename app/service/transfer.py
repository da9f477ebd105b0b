"""Rules of moving a collection from one installation to another, by way of a sealed file."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO

from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.packs import PACKS
from app.errors import (
    ConflictException,
    InvalidParameterException,
    ResourceAlreadyExistsException,
)
from app.service.photos import stored_reference
from app.service.transfer_file import Moved, TransferFileError, TransferWriter, moved_in
from app.store import collections, transfer
from app.store.database import Database
from app.store.queue import Place
from app.store.transfer import MovedCollection, MovedFace, MovedUser

PAGE_ROWS = 500
_ACCOUNT = re.compile(r"\d{12}")
_COLLECTION_ID = re.compile(r"[a-zA-Z0-9_.\-]{1,255}")
_HALF_BYTES = 2


@dataclass(frozen=True, slots=True)
class Summary:
    """What was moved. `guests_left` are an album's guests, who stay; None for a plain collection."""

    collection_id: str
    face_model_version: str
    users: int
    faces: int
    guests_left: int | None = None


class Transfers:
    """Takes collections out of a database, and puts them into one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def export(self, account_id: str, collection_id: str, out: BinaryIO, passphrase: str) -> Summary:
        """Write a collection, as it is at one moment, to a file.

        Of an album go the faces of its photos and the users who are no guests.

        Raises:
            ResourceNotFoundException: the account has no such collection.
            InvalidParameterException: not an account of 12 digits.
            SealedFileError: the passphrase is too short.
            TransferFileError: a row is too large.
            OSError: the file can't be written.
        """
        place = _place(account_id, collection_id)
        async with self._database.snapshot() as session:
            await transfer.take_time(session)
            found = await transfer.find(session, place)
            if found is None:
                raise collections.not_found(collection_id)
            guests = await transfer.album_guests(session, place)
            writer = await asyncio.to_thread(TransferWriter, out, passphrase)
            await asyncio.to_thread(writer.add, [found])
            users = await _export_users(session, place, writer)
            faces = await _export_faces(session, place, writer, guests or ())
            await asyncio.to_thread(writer.finish)
        return Summary(
            collection_id, found.face_model_version, users, faces, None if guests is None else len(guests)
        )

    async def load(
        self, account_id: str, source: BinaryIO, passphrase: str, new_id: str | None = None
    ) -> Summary:
        """Store the collection of a file, under another id if need be: all of it, or nothing.

        Raises:
            InvalidParameterException: not an account of 12 digits, or not a collection id.
            SealedFileError: no exported file, another passphrase, or not as it was written.
            TransferFileError: its rows are not those of a collection of a face model that is known here.
            ResourceAlreadyExistsException: there is a collection of this id.
            ConflictException: one of its FaceIds is in another collection of the account.
            RowRefusedError: the database can't take a row.
            OSError: the file can't be read.
        """
        if new_id is not None and not _COLLECTION_ID.fullmatch(new_id):
            raise InvalidParameterException("a collection id is 1 to 255 letters, digits and _.-")
        _place(account_id, "")
        rows = moved_in(source, passphrase)
        head = await asyncio.to_thread(next, rows, None)
        if not isinstance(head, MovedCollection):
            raise TransferFileError("the file does not begin with a collection")
        vector_bytes = _vector_bytes(head.face_model_version)
        place = _place(account_id, new_id or head.collection_id)
        async with self._database.session() as session:
            await transfer.take_time(session)
            await transfer.one_at_a_time(session, account_id)
            if not await transfer.add_collection(session, place, head):
                raise ResourceAlreadyExistsException(f"The collection id: {place[1]} already exists")
            users = faces = 0
            while page := await asyncio.to_thread(_take, rows):
                new_users, new_faces = _sorted(page, vector_bytes)
                await transfer.add_users(session, place, new_users)
                await transfer.add_faces(session, place, new_faces)
                users += len(new_users)
                faces += len(new_faces)
            other = await transfer.also_in(session, place)
            if other is not None:
                raise ConflictException(f"The collection id: {other} of this account has faces of the file")
        return Summary(place[1], head.face_model_version, users, faces)


async def _export_users(session: AsyncConnection, place: Place, writer: TransferWriter) -> int:
    count, last = 0, None
    while page := await transfer.users_after(session, place, last, PAGE_ROWS):
        await asyncio.to_thread(writer.add, page)
        count, last = count + len(page), page[-1].user_id
    return count


async def _export_faces(
    session: AsyncConnection, place: Place, writer: TransferWriter, guests: Sequence[str]
) -> int:
    count, last = 0, None
    while page := await transfer.faces_after(session, place, last, PAGE_ROWS, guests):
        await asyncio.to_thread(writer.add, map(_without_stored_photo, page))
        count, last = count + len(page), page[-1].face_id
    return count


def _without_stored_photo(face: MovedFace) -> MovedFace:
    """Files of the service's own storage stay, so nothing may point to them."""
    if face.photo is not None and face.photo.startswith(stored_reference("")):
        return replace(face, photo=None)
    return face


def _take(rows: Iterator[Moved]) -> list[Moved]:
    return list(islice(rows, PAGE_ROWS))


def _sorted(page: list[Moved], vector_bytes: int) -> tuple[list[MovedUser], list[MovedFace]]:
    users = [row for row in page if isinstance(row, MovedUser)]
    faces = [row for row in page if isinstance(row, MovedFace)]
    if len(users) + len(faces) != len(page):
        raise TransferFileError("the file holds more than one collection")
    vectors = [face.embedding for face in faces] + [user.embedding for user in users if user.embedding]
    if any(len(vector) != vector_bytes for vector in vectors):
        raise TransferFileError("a vector of the file is not of its face model's size")
    return users, faces


def _vector_bytes(face_model_version: str) -> int:
    for pack in PACKS.values():
        if pack.face_model_version == face_model_version:
            return _HALF_BYTES * pack.vector_size
    raise TransferFileError(f"no model pack of this service is of face model {face_model_version}")


def _place(account_id: str, collection_id: str) -> Place:
    if not _ACCOUNT.fullmatch(account_id):
        raise InvalidParameterException("an account is 12 digits")
    return account_id, collection_id
