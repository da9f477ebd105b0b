"""Collections, users and faces, with account and collection in every key."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PARTITIONS = 16


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.execute("""
        CREATE TABLE collections (
            account_id varchar(12) COLLATE "C" NOT NULL,
            collection_id varchar(255) COLLATE "C" NOT NULL,
            face_model_version varchar(32) NOT NULL,
            tags jsonb NOT NULL DEFAULT '{}',
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (account_id, collection_id)
        )
    """)
    op.execute("""
        CREATE TABLE users (
            account_id varchar(12) COLLATE "C" NOT NULL,
            collection_id varchar(255) COLLATE "C" NOT NULL,
            user_id varchar(128) COLLATE "C" NOT NULL,
            member_id varchar(255) NOT NULL,
            metadata jsonb NOT NULL DEFAULT '{}',
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (account_id, collection_id, user_id),
            FOREIGN KEY (account_id, collection_id)
                REFERENCES collections ON DELETE CASCADE
        )
    """)
    op.execute("""
        CREATE TABLE faces (
            account_id varchar(12) COLLATE "C" NOT NULL,
            collection_id varchar(255) COLLATE "C" NOT NULL,
            face_id uuid NOT NULL,
            image_id uuid NOT NULL,
            external_image_id varchar(255),
            external_image_label varchar(255),
            user_id varchar(128) COLLATE "C",
            box_left real NOT NULL,
            box_top real NOT NULL,
            box_width real NOT NULL,
            box_height real NOT NULL,
            confidence real NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            embedding halfvec NOT NULL,
            PRIMARY KEY (account_id, collection_id, face_id),
            FOREIGN KEY (account_id, collection_id)
                REFERENCES collections ON DELETE CASCADE,
            FOREIGN KEY (account_id, collection_id, user_id)
                REFERENCES users ON DELETE SET NULL (user_id)
        ) PARTITION BY HASH (account_id, collection_id)
    """)
    for part in range(PARTITIONS):
        op.execute(
            f"CREATE TABLE faces_{part:02} PARTITION OF faces "
            f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {part})"
        )
    op.execute("CREATE INDEX faces_by_image ON faces (account_id, collection_id, image_id)")
    op.execute("""
        CREATE INDEX faces_by_user ON faces (account_id, collection_id, user_id)
        WHERE user_id IS NOT NULL
    """)


def downgrade() -> None:
    op.execute("DROP TABLE faces, users, collections")
