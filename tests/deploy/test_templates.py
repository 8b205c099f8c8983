"""deploy/: every setting that a template names exists, whatever the platform."""

import re

import pytest

from fashion.paths import PROJECT
from fashion.server.environment import KNOWN

DEPLOY = PROJECT / "deploy"
TEMPLATES = sorted(
    path
    for path in DEPLOY.rglob("*")
    if path.is_file() and path.name not in ("Dockerfile", "Containerfile") and path.suffix != ".md"
)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_a_template_sets_what_the_server_reads(path):
    named = set(re.findall(r"\bFASHION_[A-Z_]+\b", path.read_text()))
    assert named <= KNOWN
