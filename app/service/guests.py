"""Rules of an album's guests: a selfie in, the photos that show them out."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import Caller, ImageInput, Page, Role, StoredFace
from app.engine.similarity import SimilarityCurve
from app.errors import AccessDeniedException, ConflictException, ResourceNotFoundException
from app.service.albums import Albums
from app.service.analysis import Analyser
from app.service.ids import USER_ID_MAX, public_id
from app.service.recognition import ONE_PERSON, embedding_of, largest_of
from app.service.savings import Savings
from app.store import albums as album_store
from app.store import faces as face_store
from app.store import guests as store
from app.store import index_jobs, matches
from app.store import users as user_store
from app.store.albums import Album
from app.store.database import Database
from app.store.guests import Guest
from app.store.matches import Found, Rank


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A guest after their selfie; `created` when they were not known before."""

    guest: Guest
    created: bool


@dataclass(frozen=True, slots=True)
class PhotoMatch:
    """A photo with a person, and how like them its face is, 0..100."""

    found: Found
    similarity: float


@dataclass(frozen=True, slots=True)
class Matches:
    """Photos, best first, and where the listing goes on."""

    items: tuple[PhotoMatch, ...]
    last: Rank | None


class Guests:
    """Guests of albums: users of the album's collection whose photos are kept ready."""

    def __init__(
        self,
        database: Database,
        albums: Albums,
        analyser: Analyser,
        curve: SimilarityCurve,
        savings: Savings,
    ) -> None:
        self._database = database
        self._albums = albums
        self._analyser = analyser
        self._curve = curve
        self._savings = savings

    async def enrol(
        self, caller: Caller, album_id: str, guest_id: str | None, name: str | None, selfie: ImageInput
    ) -> Enrolled:
        """Store the largest face of a selfie as a guest's and find their photos.

        The selfie itself is not kept. A new selfie takes the place of the old one, and with it go the
        photos that the old one found.

        Raises:
            NoFaceFound: the selfie has no face.
            ConflictException: the id is a user's who is no guest.
        """
        user = public_id(_own(caller, guest_id) or str(uuid4()), "guest_id", USER_ID_MAX)
        async with self._database.reading() as reader:
            await self._albums.require(reader, caller, album_id, searchable=True)
        face, analysis = largest_of(await self._analyser.analyse(selfie, ONE_PERSON))
        async with self._database.session() as session:
            album = await self._albums.require(session, caller, album_id, searchable=True)
            await album_store.keep_apart(session, album.place, guests=True)
            threshold = await album_store.threshold_of(session, album.place)
            created = await user_store.ensure(session, *album.place, user)
            if not created and await store.find(session, album.place, user.safe) is None:
                raise ConflictException("The id is that of a user who is no guest", reason="NoGuest")
            if created:
                await index_jobs.remember_user(session, *album.place, user.safe)
            await store.mark(session, album.place, user.safe, name)
            await _forget_selfie(session, album, user.safe)
            stored = StoredFace(uuid4(), analysis.image_id, user, user.safe, face.box, face.confidence, None)
            await face_store.add(session, *album.place, [face_store.NewFace(stored, embedding_of(face))])
            await user_store.refresh_vector(session, *album.place, user.safe)
            await matches.match_guest(session, album.place, user.safe, self._curve.cosine(threshold))
            guest = await self._require(session, album, user.safe)
        self._savings.count(caller.account_id, "IndexFaces")
        self._savings.count(caller.account_id, "SearchUsers")
        return Enrolled(guest, created)

    async def page(self, caller: Caller, album_id: str, after: str | None, limit: int) -> Page[Guest]:
        """Guests in the order of their user ids."""
        async with self._database.reading() as reader:
            album = await self._albums.require(reader, caller, album_id)
            return await store.page(reader, album.place, after, limit)

    async def get(self, caller: Caller, album_id: str, guest_id: str) -> Guest:
        """A guest; ResourceNotFoundException when there is none."""
        user = public_id(_own(caller, guest_id) or guest_id, "guest_id", USER_ID_MAX)
        async with self._database.reading() as reader:
            album = await self._albums.require(reader, caller, album_id)
            return await self._require(reader, album, user.safe)

    async def photos(
        self, caller: Caller, album_id: str, guest_id: str, after: Rank | None, limit: int
    ) -> Matches:
        """Photos of a guest, best first."""
        user = public_id(_own(caller, guest_id) or guest_id, "guest_id", USER_ID_MAX)
        async with self._database.reading() as reader:
            album = await self._albums.require(reader, caller, album_id)
            await self._require(reader, album, user.safe)
            found = await matches.of_guest(reader, album.place, user.safe, after, limit + 1)
        return self._matches(found, limit)

    async def search(
        self, caller: Caller, album_id: str, selfie: ImageInput, after: Rank | None, limit: int
    ) -> Matches:
        """Photos with the person of a selfie, best first; nothing is stored.

        Raises:
            NoFaceFound: the selfie has no face.
        """
        async with self._database.reading() as reader:
            await self._albums.require(reader, caller, album_id, searchable=True)
        face, _ = largest_of(await self._analyser.analyse(selfie, ONE_PERSON))
        async with self._database.reading() as reader:
            album = await self._albums.require(reader, caller, album_id, searchable=True)
            found = await matches.search(
                reader,
                album.place,
                embedding_of(face),
                least=self._curve.cosine(album.threshold),
                after=after,
                limit=limit + 1,
            )
        self._savings.count(caller.account_id, "SearchFacesByImage")
        return self._matches(found, limit)

    async def erase(self, caller: Caller, album_id: str, guest_id: str) -> None:
        """Erase a guest with their selfie's vector and their matches; ResourceNotFoundException when none."""
        user = public_id(_own(caller, guest_id) or guest_id, "guest_id", USER_ID_MAX)
        async with self._database.session() as session:
            album = await self._albums.require(session, caller, album_id, keep=True)
            await album_store.keep_apart(session, album.place, guests=True)
            await self._require(session, album, user.safe)
            await _forget_selfie(session, album, user.safe)
            await user_store.remove(session, *album.place, user.safe)
            await index_jobs.forget_user(session, *album.place, user.safe)

    def similarity(self, cosine: float) -> float:
        return self._curve.similarity(min(1.0, cosine))

    async def _require(self, session: AsyncConnection, album: Album, user_id: str) -> Guest:
        found = await store.find(session, album.place, user_id)
        if found is None:
            raise ResourceNotFoundException("The album has no such guest", reason="GuestNotFound")
        return found

    def _matches(self, found: Sequence[Found], limit: int) -> Matches:
        shown = tuple(PhotoMatch(item, self.similarity(item.cosine)) for item in found[:limit])
        return Matches(shown, shown[-1].found.rank if len(found) > limit else None)


async def _forget_selfie(session: AsyncConnection, album: Album, user_id: str) -> None:
    """Erase a guest's faces, but those in photos of the album: they are the photo's."""
    await face_store.release_photos_of_user(session, *album.place, user_id)
    await face_store.erase_of_user(session, *album.place, user_id)


def _own(caller: Caller, guest_id: str | None) -> str | None:
    """The id asked for; of somebody who joined by an event code, none but their own."""
    if caller.role is not Role.GUEST:
        return guest_id
    if guest_id not in (None, "me", caller.subject):
        raise AccessDeniedException("Your token is for your own photos only")
    return caller.subject
