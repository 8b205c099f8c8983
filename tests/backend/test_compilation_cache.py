"""The cache of compiled programs after a process was killed while it stored one."""

from fashion.backend.jax_environment import _remove_unfinished_entries


def test_an_entry_without_the_time_of_its_use_is_removed(tmp_path):
    for name in ("whole-cache", "whole-atime", "unfinished-cache", ".lockfile"):
        (tmp_path / name).touch()
    _remove_unfinished_entries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lockfile", "whole-atime", "whole-cache"]
    _remove_unfinished_entries(tmp_path / "nothing")
