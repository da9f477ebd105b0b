"""Photos that messages tell of. A message is a hint: the storage is asked what is true when the photo's
turn comes, so messages may come late, twice, or in any order."""

from app.errors import InvalidParameterException, ResourceNotFoundException
from app.service.album_listing import name_in
from app.service.album_photos import AlbumPhotos, Seen
from app.store import albums as album_store
from app.store import photos as photo_store
from app.store.albums import Album
from app.store.database import Database


class Intake:
    """Queues photos that messages name.

    Args:
        account_id: whose galleries messages name by their id alone.
    """

    def __init__(self, database: Database, album_photos: AlbumPhotos, account_id: str) -> None:
        self._database = database
        self._photos = album_photos
        self._account_id = account_id

    async def changed(self, bucket: str, key: str, *, removed: bool) -> int:
        """Look at an object of S3 again, in every album whose source covers it; returns how many do.

        An object that is said to be removed matters only where it is a photo already.
        """
        place = f"s3://{bucket}/{key}"
        async with self._database.session() as session:
            concerned = await album_store.with_source_of(session, place)
            for album in concerned:
                if removed and not await photo_store.known(session, [album.photo_id(place)]):
                    continue
                await self._photos.enter(session, album, [_hint(album, place)])
        return len(concerned)

    async def named(self, album_id: str, key: str) -> None:
        """Look at an object by its key in the bucket of an album's source.

        Raises:
            ResourceNotFoundException: there is no such album.
            InvalidParameterException: the album has no source in S3, or its source doesn't cover the key.
        """
        async with self._database.session() as session:
            album = await album_store.find(session, (self._account_id, album_id))
            if album is None:
                raise ResourceNotFoundException("There is no such album")
            if album.source is None or not album.source.startswith("s3://"):
                raise InvalidParameterException("The album has no source in S3")
            bucket = album.source.removeprefix("s3://").partition("/")[0]
            place = f"s3://{bucket}/{key}"
            if not place.startswith(album.source):
                raise InvalidParameterException("The album's source does not cover the key")
            await self._photos.enter(session, album, [_hint(album, place)])


def _hint(album: Album, place: str) -> Seen:
    assert album.source is not None
    return Seen(place, name_in(album.source, place), None)
