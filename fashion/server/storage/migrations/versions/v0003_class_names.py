"""Class names of any length: they come from the data that the model was trained on."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

COLUMNS = (("requests", "predicted_class"), ("predictions", "predicted_class"), ("predictions", "said_class"))


def upgrade() -> None:
    """Widen three columns; SQLite does not enforce their length, and would have to copy the tables."""
    if op.get_context().dialect.name == "sqlite":
        return
    for table, column in COLUMNS:
        op.alter_column(table, column, type_=sa.Text())


def downgrade() -> None:
    """Cut names to the former length."""
    if op.get_context().dialect.name == "sqlite":
        return
    for table, column in COLUMNS:
        op.alter_column(table, column, type_=sa.String(64), postgresql_using=f"left({column}, 64)")
