"""The database's schema as a sequence of Alembic revisions, run by `fashion.server.storage.database`.

To change the schema: change ``tables.py``, and add a file to ``versions`` with the next ``revision``, whose
``down_revision`` is the previous one. Never edit a released revision. A test compares the result of all revisions with
the tables.
"""
