"""The database's schema, step by step, for Alembic; `fashion.server.storage.database` runs it.

To change the schema: change the tables in ``database.py``, add a file to ``versions`` with the next ``revision`` whose
``down_revision`` is the one before, and never edit a step that was released. A test compares the outcome of all steps
with the tables.
"""
