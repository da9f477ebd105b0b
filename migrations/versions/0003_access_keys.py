"""Access keys: who may sign requests, and for what."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE access_keys (
            access_key_id varchar(128) COLLATE "C" PRIMARY KEY,
            account_id varchar(12) COLLATE "C" NOT NULL,
            secret_encrypted bytea NOT NULL,
            role varchar(8) NOT NULL CHECK (role IN ('read', 'write', 'admin')),
            collections text[] NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            revoked_at timestamptz
        )
    """)
    op.execute("CREATE INDEX access_keys_by_account ON access_keys (account_id)")


def downgrade() -> None:
    op.execute("DROP TABLE access_keys")
