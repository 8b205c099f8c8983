"""What Alembic runs; the connection, with its transaction and lock, is that of `fashion.server.storage.database`."""

from alembic import context

from fashion.server.storage.database import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
