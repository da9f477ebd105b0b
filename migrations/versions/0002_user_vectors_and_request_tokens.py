"""Users get a vector of their own, and ClientRequestTokens are remembered."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN embedding halfvec")
    op.execute("""
        UPDATE users SET embedding = (
            SELECT l2_normalize(avg(faces.embedding)) FROM faces
            WHERE faces.account_id = users.account_id
              AND faces.collection_id = users.collection_id
              AND faces.user_id = users.user_id
        )
    """)
    op.execute("""
        CREATE TABLE client_request_tokens (
            account_id varchar(12) COLLATE "C" NOT NULL,
            operation varchar(64) NOT NULL,
            token varchar(64) COLLATE "C" NOT NULL,
            fingerprint char(64) NOT NULL,
            answer text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (account_id, operation, token)
        )
    """)
    op.execute("CREATE INDEX client_request_tokens_by_age ON client_request_tokens (created_at)")


def downgrade() -> None:
    op.execute("DROP TABLE client_request_tokens")
    op.execute("ALTER TABLE users DROP COLUMN embedding")
