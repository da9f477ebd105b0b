"""Faces remember where their photo lies, and jobs index members anew from storage."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE faces ADD COLUMN photo text")
    op.execute("ALTER TABLE users ADD COLUMN subject varchar(255)")
    op.execute("""
        CREATE UNIQUE INDEX users_by_subject ON users (account_id, collection_id, subject)
        WHERE subject IS NOT NULL
    """)
    op.execute("""
        CREATE TABLE index_jobs (
            job_id uuid PRIMARY KEY,
            account_id varchar(12) COLLATE "C" NOT NULL,
            collection_id varchar(255) COLLATE "C" NOT NULL,
            kind varchar(16) NOT NULL CHECK (kind IN ('photos', 'prefix', 'reembed')),
            prefix text,
            member_id_from varchar(16),
            allow_missing boolean NOT NULL,
            face_model_version varchar(32) NOT NULL,
            state varchar(16) NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
            listed boolean NOT NULL,
            leased_until timestamptz,
            done integer NOT NULL DEFAULT 0,
            failed integer NOT NULL DEFAULT 0,
            reason varchar(64),
            created_at timestamptz NOT NULL DEFAULT now(),
            started_at timestamptz,
            finished_at timestamptz,
            FOREIGN KEY (account_id, collection_id) REFERENCES collections ON DELETE CASCADE
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX index_jobs_one_active ON index_jobs (account_id, collection_id)
        WHERE state IN ('queued', 'running')
    """)
    op.execute("""
        CREATE TABLE index_items (
            job_id uuid NOT NULL REFERENCES index_jobs ON DELETE CASCADE,
            item integer NOT NULL,
            user_id varchar(128) COLLATE "C",
            member_id varchar(255),
            photo text,
            face_id uuid NOT NULL,
            state varchar(8) NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
            reason varchar(64),
            image_id uuid,
            box_left real,
            box_top real,
            box_width real,
            box_height real,
            confidence real,
            embedding halfvec,
            PRIMARY KEY (job_id, item)
        )
    """)
    op.execute("CREATE INDEX index_items_by_face ON index_items (job_id, face_id)")
    op.execute("""
        CREATE TABLE index_erased (
            job_id uuid NOT NULL REFERENCES index_jobs ON DELETE CASCADE,
            user_id varchar(128) COLLATE "C" NOT NULL,
            PRIMARY KEY (job_id, user_id)
        )
    """)
    op.execute("CREATE INDEX index_items_pending ON index_items (job_id, item) WHERE state = 'pending'")


def downgrade() -> None:
    op.execute("DROP TABLE index_erased, index_items, index_jobs")
    op.execute("DROP INDEX users_by_subject")
    op.execute("ALTER TABLE users DROP COLUMN subject")
    op.execute("ALTER TABLE faces DROP COLUMN photo")
