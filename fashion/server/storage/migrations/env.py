"""Alembic's environment, run on the connection, transaction and lock of `fashion.server.storage.database`."""

from alembic import context

from fashion.server.storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
