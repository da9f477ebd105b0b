"""Indexes of large collections hold sketches of vectors: workers build them, and drop those of whole ones."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing: what there is depends on how many faces collections hold."""


def downgrade() -> None:
    """Older code knows nothing of these indexes and their functions, and would leave them behind."""
    op.execute(r"""
        DO $$
        DECLARE found regproc;
        BEGIN
            FOR found IN
                SELECT oid::regproc FROM pg_proc
                WHERE proname ~ '^(faces|users)_sketch_[0-9a-f]{32}_\d+$'
                    AND pronamespace = current_schema()::regnamespace
            LOOP
                EXECUTE 'DROP FUNCTION ' || found || ' CASCADE';
            END LOOP;
        END $$
    """)
