"""Browser sessions, predictions with feedback, and uploaded images (`pictures`)."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create three tables, and a column for the decision in the request log."""
    op.add_column("requests", sa.Column("decision", sa.String(16)))
    op.create_table(
        "sessions",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(64), sa.ForeignKey("accounts.name", ondelete="CASCADE"), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_sessions_account", "sessions", ["account"])
    op.create_table(
        "predictions",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("account", sa.String(64), sa.ForeignKey("accounts.name", ondelete="CASCADE"), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("picture_sha256", sa.String(64), nullable=False),
        sa.Column("model_version", sa.String(16), nullable=False),
        sa.Column("predicted_class", sa.String(64), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("said_class", sa.String(64)),
        sa.Column("comment", sa.String(200)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_predictions_account_id", "predictions", ["account", "id"])
    op.create_index("ix_predictions_time", "predictions", ["time"])
    op.create_table(
        "pictures",
        sa.Column(
            "prediction",
            BIG_ID,
            sa.ForeignKey("predictions.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("jpeg", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_pictures_time", "pictures", ["time"])


def downgrade() -> None:
    """Drop the tables and the column."""
    op.drop_table("pictures")
    op.drop_table("predictions")
    op.drop_table("sessions")
    op.drop_column("requests", "decision")
