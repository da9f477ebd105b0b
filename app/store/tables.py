"""The columns and keys that queries use; the migrations make them, with more in SQL of their own.

Account and collection lead every key.
"""

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    CHAR,
    REAL,
    Boolean,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()

collections = Table(
    "collections",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("collection_id", String(255), primary_key=True),
    Column("face_model_version", String(32), nullable=False),
    Column("tags", JSONB, nullable=False, server_default="{}"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
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
    Column("embedding", HALFVEC()),
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
    Column("embedding", HALFVEC(), nullable=False),
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
    Column("leased_until", DateTime(timezone=True)),
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
    Column("embedding", HALFVEC()),
)
