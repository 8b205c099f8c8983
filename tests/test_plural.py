"""Numbers with their nouns."""

import pytest

from fashion.plural import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1200, "1,200 files")])
def test_a_noun_is_plural_unless_it_is_one(number, text):
    assert counted(number, "file") == text
