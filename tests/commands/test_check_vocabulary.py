"""``scripts/check_vocabulary.py``: it finds each word of its list, and nothing in a clean file."""

import subprocess
import sys

import pytest

from fashion.paths import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))
import check_vocabulary


@pytest.mark.parametrize("rule", check_vocabulary.RULES, ids=lambda rule: rule.example)
def test_every_word_of_the_list_is_found(rule):
    found = list(check_vocabulary.findings(f"A clean line.\n{rule.example}\n"))
    assert [(each.line, each.instead) for each in found] == [(2, rule.instead)]
    assert found[0].text in rule.example
    assert not list(check_vocabulary.findings(f"{rule.example}  # {check_vocabulary.IGNORE}\n"))
    assert not list(check_vocabulary.findings(rule.instead))


def test_the_whole_project_is_read_by_default():
    names = {path.relative_to(PROJECT).as_posix() for path in check_vocabulary.project_files()}
    assert {"README.md", "Makefile", "configs/train.yaml", "fashion/metrics.py", "docs/recipes.md"} <= names
    assert "fashion/server/static/page.js" in names
    assert "tests/commands/test_check_vocabulary.py" in names


@pytest.mark.process
@pytest.mark.parametrize(("text", "status"), [("The most probable class.\n", 0), ("The likeliest class.\n", 1)])
def test_the_exit_status_says_whether_a_word_was_found(tmp_path, text, status):
    file = tmp_path / "page.md"
    file.write_text(text)
    script = PROJECT / "scripts" / "check_vocabulary.py"
    run = subprocess.run([sys.executable, script, file], capture_output=True, text=True)
    assert run.returncode == status
    assert run.stdout == (f"{file}:1: 'likeliest', say instead: most probable\n" if status else "")
