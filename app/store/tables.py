"""The columns and keys that queries use; the migrations make them, with more in SQL of their own.

Account and collection lead every key.
"""

from typing import Any

from sqlalchemy import (
    CHAR,
    REAL,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from app.store.vectors import Halfvec


class Xid8(UserDefinedType[str]):
    """The number of a transaction, which grows for ever."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


ischema_names["xid8"] = Xid8  # for reflection, which otherwise warns


metadata = MetaData()

collections = Table(
    "collections",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("collection_id", String(255), primary_key=True),
    Column("face_model_version", String(32), nullable=False),
    Column("tags", JSONB, nullable=False, server_default="{}"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # The app user whose album this is; others without more rights don't see it.
    Column("owner", String(255)),
)

users = Table(
    "users",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("collection_id", String(255), primary_key=True),
    Column("user_id", String(128), primary_key=True),
    # The `sub` of the app user who is this member.
    Column("subject", String(255)),
    # The id as a member door's client wrote it; user_id is its form that Rekognition allows.
    Column("member_id", String(255), nullable=False),
    Column("metadata", JSONB, nullable=False, server_default="{}"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # The mean of the user's faces, of unit length; none without a face.
    Column("embedding", Halfvec()),
    # In which transaction the vector came; none before this was noted.
    Column("changed_in", Xid8),
    # New photos of the album are matched with guests.
    Column("guest", Boolean, nullable=False, server_default="false"),
    ForeignKeyConstraint(
        ["account_id", "collection_id"],
        ["collections.account_id", "collections.collection_id"],
        ondelete="CASCADE",
    ),
)

client_request_tokens = Table(
    "client_request_tokens",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("operation", String(64), primary_key=True),
    Column("token", String(64), primary_key=True),
    Column("fingerprint", CHAR(64), nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("access_key_id", String(128), primary_key=True),
    Column("account_id", String(12), nullable=False),
    Column("secret_encrypted", LargeBinary, nullable=False),
    Column("role", String(8), nullable=False),
    Column("collections", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("revoked_at", DateTime(timezone=True)),
)

service_secrets = Table(
    "service_secrets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# Hash-partitioned by (account_id, collection_id): the unit of search is the unit of partitioning.
faces = Table(
    "faces",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("collection_id", String(255), primary_key=True),
    Column("face_id", Uuid, primary_key=True),
    Column("image_id", Uuid, nullable=False),
    Column("external_image_id", String(255)),
    Column("external_image_label", String(255)),
    Column("user_id", String(128)),
    Column("box_left", REAL, nullable=False),
    Column("box_top", REAL, nullable=False),
    Column("box_width", REAL, nullable=False),
    Column("box_height", REAL, nullable=False),
    Column("confidence", REAL, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("photo", Text),
    # No fixed size: packs differ, and a collection holds vectors of one model only.
    Column("embedding", Halfvec(), nullable=False),
    Column("changed_in", Xid8),
    # The photo of the album that shows this face; none for selfies and for faces that a call indexed.
    Column("photo_id", Uuid),
    ForeignKeyConstraint(
        ["account_id", "collection_id"],
        ["collections.account_id", "collections.collection_id"],
        ondelete="CASCADE",
    ),
)

index_jobs = Table(
    "index_jobs",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("account_id", String(12), nullable=False),
    Column("collection_id", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("prefix", Text),
    Column("member_id_from", String(16)),
    Column("allow_missing", Boolean, nullable=False),
    Column("face_model_version", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("listed", Boolean, nullable=False),
    Column("done", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("reason", String(64)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
)

# Users who were erased while a job was at work: it must not bring them back.
index_erased = Table(
    "index_erased",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("user_id", String(128), primary_key=True),
)

# One photo of a job; once done it holds the face that waits for the switch.
index_items = Table(
    "index_items",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("user_id", String(128)),
    Column("member_id", String(255)),
    Column("photo", Text),
    Column("face_id", Uuid, nullable=False),
    Column("state", String(8), nullable=False),
    Column("reason", String(64)),
    Column("image_id", Uuid),
    Column("box_left", REAL),
    Column("box_top", REAL),
    Column("box_width", REAL),
    Column("box_height", REAL),
    Column("confidence", REAL),
    Column("embedding", Halfvec()),
)

# A collection with photos.
albums = Table(
    "albums",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("album_id", String(255), primary_key=True),
    # Names the album's files in the storage: another album of the same id has another.
    Column("album_key", Uuid, nullable=False, unique=True),
    Column("title", String(255)),
    # Where its photos lie, as a reference; none when they are uploaded.
    Column("source", Text),
    # The least Similarity of a guest's photo, 1..100.
    Column("threshold", REAL, nullable=False),
    Column("retention_days", Integer),
    Column("event_code", String(64), unique=True),
    Column("recompress", Boolean, nullable=False),
    # Why the last listing of the source failed.
    Column("listing_error", String(64)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(
        ["account_id", "album_id"],
        ["collections.account_id", "collections.collection_id"],
        ondelete="CASCADE",
    ),
)

photos = Table(
    "photos",
    metadata,
    Column("photo_id", Uuid, primary_key=True),
    Column("account_id", String(12), nullable=False),
    Column("album_id", String(255), nullable=False),
    Column("place", Text, nullable=False),
    Column("name", Text, nullable=False),
    # The version in the storage (an ETag) that was last heard of, and the one whose faces are here.
    Column("version", Text),
    Column("indexed_version", Text),
    # Of the model and the settings that found the faces.
    Column("fingerprint", String(64)),
    Column("state", String(8), nullable=False),
    Column("reason", String(64)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("faces", Integer, nullable=False, server_default="0"),
    Column("width", Integer),
    Column("height", Integer),
    Column("thumbnail", Boolean, nullable=False, server_default="false"),
    Column("listed_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("finished_at", DateTime(timezone=True)),
    UniqueConstraint("account_id", "album_id", "place"),
    ForeignKeyConstraint(
        ["account_id", "album_id"], ["albums.account_id", "albums.album_id"], ondelete="CASCADE"
    ),
)

# Photos by state, written by triggers on photos; the sum over the shards counts.
album_counts = Table(
    "album_counts",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("album_id", String(255), primary_key=True),
    Column("shard", SmallInteger, primary_key=True),
    Column("pending", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False),
    Column("faces", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["account_id", "album_id"], ["albums.account_id", "albums.album_id"], ondelete="CASCADE"
    ),
)

# A guest in a photo, by the face that is most like theirs: one person once a photo.
photo_matches = Table(
    "photo_matches",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("album_id", String(255), primary_key=True),
    Column("user_id", String(128), primary_key=True),
    Column("photo_id", Uuid, ForeignKey("photos.photo_id", ondelete="CASCADE"), primary_key=True),
    Column("face_id", Uuid, nullable=False),
    Column("cosine", REAL, nullable=False),
    ForeignKeyConstraint(
        ["account_id", "album_id", "user_id"],
        ["users.account_id", "users.collection_id", "users.user_id"],
        ondelete="CASCADE",
    ),
    ForeignKeyConstraint(
        ["account_id", "album_id", "face_id"],
        ["faces.account_id", "faces.collection_id", "faces.face_id"],
        ondelete="CASCADE",
    ),
)

# The queue. A job is in hand until its lease ends.
jobs = Table(
    "jobs",
    metadata,
    Column("job_id", BigInteger, Identity(always=True), primary_key=True),
    Column("lane", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("account_id", String(12)),
    Column("collection_id", String(255)),
    Column("run_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease", Uuid),
    Column("leased_until", DateTime(timezone=True)),
    Column("correlation_id", String(128)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("kind", "subject"),
    ForeignKeyConstraint(
        ["account_id", "collection_id"],
        ["collections.account_id", "collections.collection_id"],
        ondelete="CASCADE",
    ),
)

# Calls by Rekognition operation, for what they would have cost there.
operation_counts = Table(
    "operation_counts",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("operation", String(64), primary_key=True),
    Column("calls", BigInteger, nullable=False),
)
