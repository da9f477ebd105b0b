"""Collections that move from one database to another: all of them arrives exactly, or nothing does."""

import asyncio
import io
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb

from app.errors import (
    ConflictException,
    InvalidParameterException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
)
from app.service.sealed_file import SealedFileError, SealedWriter
from app.service.transfer import PAGE_ROWS, Summary, Transfers
from app.service.transfer_file import TransferFileError, TransferWriter, moved_in
from app.store import migrate, tables
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres
from app.store.transfer import MovedCollection, MovedFace, MovedUser, RowRefusedError

PASSPHRASE = "twelve letters"
ONE, OTHER = "111111111111", "222222222222"
MANY = 10_000

_COLLECTION = "face_model_version, tags::text, created_at, owner"
_USER = "user_id, member_id, subject, metadata::text, created_at, embedding::text, guest"
_FACE = """face_id, image_id, external_image_id, external_image_label, user_id, box_left, box_top, box_width,
    box_height, confidence, created_at, photo, embedding::text, photo_id"""


class Side:
    """One of two installations."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sql = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)

    def act(self, work: Callable[[Transfers], Coroutine[Any, Any, Summary]]) -> Summary:
        async def inside() -> Summary:
            database = Database(self.url, pool_size=1, max_overflow=0)
            try:
                return await work(Transfers(database))
            finally:
                await database.close()

        return asyncio.run(inside())

    def export(self, name: str, account: str = ONE) -> bytes:
        out = io.BytesIO()
        self.act(lambda transfers: transfers.export(account, name, out, PASSPHRASE))
        return out.getvalue()

    def load(
        self, file: bytes, new_id: str | None = None, account: str = ONE, passphrase: str = PASSPHRASE
    ) -> Summary:
        return self.act(lambda transfers: transfers.load(account, io.BytesIO(file), passphrase, new_id))

    def rows(self, name: str, account: str = ONE) -> list[list[tuple[Any, ...]]]:
        """All of a collection, vectors as PostgreSQL writes them."""
        return [
            self.sql.execute(
                f"SELECT {columns} FROM {table} WHERE (account_id, collection_id) = (%s, %s) ORDER BY 1",
                (account, name),
            ).fetchall()
            for table, columns in (("collections", _COLLECTION), ("users", _USER), ("faces", _FACE))
        ]

    def totals(self) -> list[int]:
        found = [
            self.sql.execute(f"SELECT count(*) FROM {table}").fetchone()
            for table in ("collections", "users", "faces")
        ]
        return [row[0] for row in found if row is not None]

    def add_collection(self, name: str, model: str = "1.0", owner: str | None = None) -> None:
        self.sql.execute(
            "INSERT INTO collections (account_id, collection_id, face_model_version, tags, owner, "
            "created_at) VALUES (%s, %s, %s, %s, %s, '2024-02-29 12:34:56.789012+02')",
            (ONE, name, model, Jsonb({"stage": "Bühne"}), owner),
        )

    def add_user(self, name: str, user_id: str, *, guest: bool = False, **values: Any) -> None:
        self.sql.execute(
            """
            INSERT INTO users (account_id, collection_id, user_id, member_id, subject, metadata, embedding,
                guest, created_at)
            VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s::halfvec, %s, '2025-01-02 03:04:05.000006+00')
            """,
            (
                ONE, name, user_id, values.get("member_id", user_id), values.get("subject"),
                values.get("metadata", "{}"), values.get("embedding"), guest,
            ),
        )  # fmt: skip

    def add_face(self, name: str, user_id: str | None = None, **values: Any) -> UUID:
        face_id = values.get("face_id", uuid4())
        label = values.get("label")
        box = np.random.default_rng(face_id.int).random(5).astype(np.float32).tolist()
        self.sql.execute(
            """
            INSERT INTO faces (account_id, collection_id, face_id, image_id, external_image_id,
                external_image_label, user_id, box_left, box_top, box_width, box_height, confidence, photo,
                embedding, photo_id, created_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::halfvec, %s, now())
            """,
            (
                ONE, name, face_id, uuid4(), label and "id-sha256:1", label, user_id, *box,
                values.get("photo"), values.get("embedding", vector(face_id.int)), values.get("photo_id"),
            ),
        )  # fmt: skip
        return UUID(str(face_id))


def vector(seed: int) -> str:
    values = np.random.default_rng(seed).normal(size=512)
    return "[" + ",".join(map(str, values / np.linalg.norm(values))) + "]"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("transfer"))
    yield postgres.start()
    postgres.stop()


def side(server: str) -> Iterator[Side]:
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = server.replace("/postgres?", f"/{name}?")
    migrate.upgrade(url)
    made = Side(url)
    yield made
    made.sql.close()


@pytest.fixture(scope="module")
def here(server: str) -> Iterator[Side]:
    yield from side(server)


@pytest.fixture(scope="module")
def other(server: str) -> Iterator[Side]:
    yield from side(server)


@pytest.fixture
def there(other: Side) -> Side:
    """An installation without data."""
    other.sql.execute("TRUNCATE collections CASCADE")
    return other


@pytest.fixture(scope="module")
def party(here: Side) -> bytes:
    """The file of a collection with more than a page of rows, and of everything that a row can be."""
    here.add_collection("party", owner="app-user-1")
    # The smallest half, the largest, a negative zero: what rounding would lose.
    extremes = "[5.9604645e-08,65504,-0,0.33325195," + ",".join(["0.001"] * 508) + "]"
    metadata = (
        '{"name": "Zoë \\"Z\\"\\n", "figure": 0.1000000000000000000001, "deep": {"list": [1, null, true]}}'
    )
    here.add_user(
        "party", "id-sha256:7", member_id="Zoë/1", subject="sub-1", metadata=metadata, embedding=extremes
    )
    here.add_user("party", "without-faces")
    here.add_face(
        "party", "id-sha256:7", embedding=extremes, label="Foto\u2028 1.jpg", photo="s3://bucket/1.jpg"
    )
    for _ in range(PAGE_ROWS + 10):
        here.add_face("party")
    here.add_collection("another")
    here.add_face("another")
    return here.export("party")


def test_everything_arrives_exactly(here: Side, there: Side, party: bytes) -> None:
    assert there.load(party) == Summary("party", "1.0", 2, PAGE_ROWS + 11)
    assert there.rows("party") == here.rows("party")
    assert there.totals() == [1, 2, PAGE_ROWS + 11]


def test_a_collection_moves_on_from_where_it_came(there: Side, party: bytes) -> None:
    there.load(party)
    again = there.export("party")
    kept = there.rows("party")
    there.sql.execute("DELETE FROM collections")
    there.load(again)
    assert there.rows("party") == kept


def test_what_is_stored_during_an_export_is_not_in_it(there: Side) -> None:
    there.add_collection("busy")
    there.add_user("busy", "first")
    there.add_face("busy", "first")

    class Busy(io.BytesIO):
        def write(self, data: Any) -> int:
            if not self.tell():
                there.add_user("busy", "second")
                there.add_face("busy", "second")
            return super().write(data)

    out = Busy()
    there.act(lambda transfers: transfers.export(ONE, "busy", out, PASSPHRASE))
    assert there.load(out.getvalue(), account=OTHER) == Summary("busy", "1.0", 1, 1)
    assert there.totals() == [2, 3, 3]


def test_an_empty_collection_moves(there: Side) -> None:
    there.add_collection("empty")
    assert there.load(there.export("empty"), account=OTHER) == Summary("empty", "1.0", 0, 0)
    assert there.rows("empty", OTHER) == there.rows("empty")


def test_it_may_have_another_id_and_another_account(here: Side, there: Side, party: bytes) -> None:
    assert there.load(party, "festa", OTHER).collection_id == "festa"
    assert there.rows("festa", OTHER) == here.rows("party")
    for wrong in ("", "a/b", "ä", "x" * 256):
        with pytest.raises(InvalidParameterException, match="a collection id is"):
            there.load(party, wrong)
    with pytest.raises(InvalidParameterException, match="an account is 12 digits"):
        there.load(party, account="12")


def test_what_is_not_there_or_not_the_accounts_is_not_exported(here: Side, party: bytes) -> None:
    for name, account in (("none", ONE), ("party", OTHER)):
        with pytest.raises(ResourceNotFoundException):
            here.export(name, account)


def test_a_collection_that_is_there_is_not_touched(there: Side, party: bytes) -> None:
    there.load(party)
    before = there.rows("party")
    with pytest.raises(ResourceAlreadyExistsException, match="party already exists"):
        there.load(party)
    assert there.rows("party") == before


def test_face_ids_of_another_collection_of_the_account_are_refused(there: Side, party: bytes) -> None:
    there.load(party)
    with pytest.raises(ConflictException, match="party of this account has faces of the file"):
        there.load(party, "copy")
    assert there.totals() == [1, 2, PAGE_ROWS + 11]
    there.load(party, account=OTHER)  # accounts see nothing of each other
    assert there.totals() == [2, 4, 2 * PAGE_ROWS + 22]


def test_of_two_imports_at_once_one_is_stored(there: Side, party: bytes) -> None:
    async def both() -> list[Any]:
        database = Database(there.url, pool_size=2, max_overflow=0)
        loads = [
            Transfers(database).load(ONE, io.BytesIO(party), PASSPHRASE, name) for name in ("first", "second")
        ]
        try:
            return await asyncio.gather(*loads, return_exceptions=True)
        finally:
            await database.close()

    kinds = {type(outcome) for outcome in asyncio.run(both())}
    assert kinds == {Summary, ConflictException}
    assert there.totals() == [1, 2, PAGE_ROWS + 11]


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file[:-1],
        lambda file: file[: len(file) // 2],
        lambda file: file[: 38 + 65_552],  # after the first chunk
        lambda file: file[:38],
        lambda file: file + b"\0",
        lambda file: file[:20] + bytes([file[20] ^ 1]) + file[21:],
        lambda file: file[:-100] + bytes([file[-100] ^ 1]) + file[-99:],
        lambda file: b"",
    ],
    ids=["a byte cut", "half cut", "chunks cut", "all cut", "longer", "header", "last chunk", "empty"],
)
def test_of_a_damaged_file_nothing_is_stored(
    there: Side, party: bytes, damage: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(SealedFileError):
        there.load(damage(party))
    assert there.totals() == [0, 0, 0]


def test_with_a_wrong_passphrase_nothing_is_stored(there: Side, party: bytes) -> None:
    with pytest.raises(SealedFileError, match="the passphrase is not the file's"):
        there.load(party, passphrase="twelve Letters")
    assert there.totals() == [0, 0, 0]


def test_a_face_model_that_no_pack_has_is_refused(there: Side) -> None:
    there.add_collection("foreign", model="9.9")
    file = there.export("foreign")
    with pytest.raises(TransferFileError, match=r"no model pack of this service is of face model 9\.9"):
        there.load(file, account=OTHER)
    assert there.totals() == [1, 0, 0]


def rewritten(file: bytes, change: Callable[[list[Any]], list[Any]]) -> bytes:
    """A file that was sealed well, with other rows."""
    out = io.BytesIO()
    writer = TransferWriter(out, PASSPHRASE)
    writer.add(change(list(moved_in(io.BytesIO(file), PASSPHRASE))))
    writer.finish()
    return out.getvalue()


def shorter(face: MovedFace) -> MovedFace:
    return MovedFace(
        **{name: getattr(face, name) for name in face.__slots__} | {"embedding": face.embedding[2:]}
    )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda rows: rows[1:], TransferFileError),  # no collection
        (lambda rows: [], TransferFileError),
        (lambda rows: [*rows, rows[0]], TransferFileError),  # two collections
        (lambda rows: [*rows[:-1], shorter(rows[-1])], TransferFileError),
        (lambda rows: [*rows, rows[-1]], RowRefusedError),  # a face twice
        (lambda rows: [rows[0], *rows[3:]], RowRefusedError),  # a face of a user who is not there
    ],
    ids=["no collection", "nothing", "two collections", "short vector", "face twice", "no such user"],
)
def test_rows_that_are_no_collection_are_refused(
    there: Side, party: bytes, change: Callable[[list[Any]], list[Any]], error: type[Exception]
) -> None:
    with pytest.raises(error) as refused:
        there.load(rewritten(party, change))
    assert "Zoë" not in str(refused.value)
    assert there.totals() == [0, 0, 0]


@pytest.mark.parametrize("content", [b"no zlib", b"x\x9c\x03\x00\x00\x00\x00\x01more", b"x\x9c"])
def test_content_that_is_not_packed_as_it_should_be_is_refused(there: Side, content: bytes) -> None:
    out = io.BytesIO()
    writer = SealedWriter(out, PASSPHRASE)
    writer.write(content)
    writer.finish()
    with pytest.raises(TransferFileError):
        there.load(out.getvalue())


def test_of_an_album_faces_and_people_move_but_neither_photos_nor_guests(there: Side) -> None:
    there.add_collection("gala")
    there.sql.execute(
        "INSERT INTO albums (account_id, album_id, album_key, threshold, recompress, event_code) "
        "VALUES (%s, 'gala', %s, 80, false, 'GALA-26')",
        (ONE, uuid4()),
    )
    there.add_user("gala", "guest-1", guest=True)
    there.add_user("gala", "singer")
    there.add_face("gala", "guest-1")  # a selfie
    photo = {"photo_id": uuid4(), "photo": "stored:111111111111/x/1", "label": "1.jpg"}
    uploaded = there.add_face("gala", "guest-1", **photo)
    listed = there.add_face("gala", "singer", photo_id=uuid4(), photo="s3://photos/2.jpg")
    out = io.BytesIO()
    done = there.act(lambda transfers: transfers.export(ONE, "gala", out, PASSPHRASE))
    assert done == Summary("gala", "1.0", 1, 2, guests_left=1)
    there.load(out.getvalue(), account=OTHER)
    _, users, faces = there.rows("gala", OTHER)
    assert [(row[0], row[-1]) for row in users] == [("singer", False)]
    # user, photo, photo of the album
    assert {row[0]: (row[4], row[11], row[13]) for row in faces} == {
        uploaded: (None, None, None),
        listed: ("singer", "s3://photos/2.jpg", None),
    }
    albums = there.sql.execute("SELECT count(*) FROM albums WHERE account_id = %s", (OTHER,)).fetchone()
    assert albums == (0,)


def test_every_column_moves_or_stays_on_purpose() -> None:
    """Fails when a migration adds a column: then it moves too, with another version of the file."""
    for table, moved, stays in (
        (tables.collections, MovedCollection, {"account_id"}),
        (tables.users, MovedUser, {"account_id", "collection_id", "guest", "changed_in"}),
        (tables.faces, MovedFace, {"account_id", "collection_id", "photo_id", "changed_in"}),
    ):
        assert {column.name for column in table.columns} - stays == set(moved.__slots__) - {"kind"}


def test_a_large_collection_does_not_lie_in_memory(there: Side, tmp_path: Path) -> None:
    there.add_collection("large")
    random = np.random.default_rng(5)
    with (
        there.sql.cursor() as cursor,
        cursor.copy(
            "COPY faces (account_id, collection_id, face_id, image_id, box_left, box_top, box_width, "
            "box_height, confidence, embedding) FROM STDIN"
        ) as copy,
    ):
        for number in range(MANY):
            values = ",".join(f"{value:.4f}" for value in random.normal(size=512))
            copy.write_row(
                (ONE, "large", UUID(int=number), UUID(int=1), 0.1, 0.2, 0.3, 0.4, 99, f"[{values}]")
            )
    path = tmp_path / "large.sealed"

    def peak_mib(work: Callable[[], Summary]) -> float:
        tracemalloc.start()
        try:
            assert work().faces == MANY
            return tracemalloc.get_traced_memory()[1] / 2**20
        finally:
            tracemalloc.stop()

    with path.open("wb") as out:
        exporting = peak_mib(
            lambda: there.act(lambda transfers: transfers.export(ONE, "large", out, PASSPHRASE))
        )
    with path.open("rb") as source:
        loading = peak_mib(lambda: there.act(lambda transfers: transfers.load(OTHER, source, PASSPHRASE)))
    # The vectors alone have 10 MiB, as rows in Python several times as much.
    assert path.stat().st_size > 10 * 2**20
    assert max(exporting, loading) < 5, (exporting, loading)
    assert there.totals() == [2, 0, 2 * MANY]
