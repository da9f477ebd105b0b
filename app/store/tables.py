"""The columns and keys that queries use; the migrations make them, with more in SQL of their own.

Account and collection lead every key.
"""

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    REAL,
    Column,
    DateTime,
    ForeignKeyConstraint,
    MetaData,
    String,
    Table,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

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
    # The id as a member door's client wrote it; user_id is its form that Rekognition allows.
    Column("member_id", String(255), nullable=False),
    Column("metadata", JSONB, nullable=False, server_default="{}"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(
        ["account_id", "collection_id"],
        ["collections.account_id", "collections.collection_id"],
        ondelete="CASCADE",
    ),
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
    # No fixed size: packs differ, and a collection holds vectors of one model only.
    Column("embedding", HALFVEC(), nullable=False),
    ForeignKeyConstraint(
        ["account_id", "collection_id"],
        ["collections.account_id", "collections.collection_id"],
        ondelete="CASCADE",
    ),
)
