"""The gunicorn master and its workers."""
