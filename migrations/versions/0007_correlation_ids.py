"""Jobs remember the request that asked for them."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE jobs ADD COLUMN correlation_id varchar(128)")


def downgrade() -> None:
    op.execute("ALTER TABLE jobs DROP COLUMN correlation_id")
