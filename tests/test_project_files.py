"""The files that describe the project agree with each other and with what runs."""

import re
import tomllib

import yaml

import fashion
from fashion.paths import PROJECT


def test_one_version_everywhere():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    releases = re.findall(r"^## \[(\d[^]]*)\] - (\S+)$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == (fashion.__version__, citation["date-released"])
    assert citation["version"] == fashion.__version__
    assert "version" in tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dynamic"]


def test_the_changelog_keeps_the_format():
    """https://keepachangelog.com/en/1.1.0/: newest first, ISO dates, six kinds of changes."""
    headings = re.findall(r"^(#+) (.+)$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == ("#", "Changelog")
    versions = [text for level, text in headings if level == "##"]
    assert versions[0] == "[Unreleased]"
    dated = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d{2}-\d{2}", version) for version in versions[1:]]
    assert all(dated)
    numbers = [tuple(map(int, version.groups())) for version in dated]
    assert numbers == sorted(numbers, reverse=True)
    kinds = {text for level, text in headings if level == "###"}
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_commit_hooks_are_the_commands_of_make_lint():
    recipe = re.search(r"^lint:.*\n((?:\t.+\n)+)", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    commands = [line.strip().replace("$(PY)", ".venv/bin/python") for line in recipe[1].splitlines()]
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert len(hooks) == len(commands)
    for hook, command in zip(hooks, commands, strict=True):
        assert command.startswith(hook["entry"])


def test_the_workflow_runs_what_developers_run():
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text())
    job = workflow["jobs"]["test"]
    assert job["steps"][-1] == {"run": ".ci/run"}
    required = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"]
    lowest, beyond = (int(minor) for minor in re.findall(r"3\.(\d+)", required))
    assert job["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(lowest, beyond)]
