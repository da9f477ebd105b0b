"""Nothing any more: databases that ran this when indexes held sketches of vectors stand here."""

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Fresh databases go on."""


def downgrade() -> None:
    """There is nothing to take back."""
