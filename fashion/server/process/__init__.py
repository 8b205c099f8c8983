"""The server's processes: a gunicorn master and its workers."""
