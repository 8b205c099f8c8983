"""Where files are."""

import os

import pytest

from fashion.paths import cache_folder


def test_the_cache_of_a_user_without_a_home_cannot_be_made(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user id without a name and without HOME
    assert cache_folder().is_absolute()
    with pytest.raises(OSError, match="Not a directory"):
        cache_folder().mkdir(parents=True)
