"""The server's rooms: imports lead down only, and each setting is described wherever settings are listed."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import yaml

from fashion.paths import PROJECT
from fashion.server.settings import Settings

SERVER = PROJECT / "fashion" / "server"
# From top to bottom. Within a folder, the test below looks for circles.
ROOMS = (
    "process", "app", "api", "pages", "access", "services", "security", "service", "serving_settings",
    "environment", "storage", "problems", "settings",
)  # fmt: skip
MODULES = {
    ".".join(["fashion.server", *file.relative_to(SERVER).with_suffix("").parts]).removesuffix(".__init__"): file
    for file in SERVER.rglob("*.py")
}


def imported(file: Path) -> set[str]:
    """The server's modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name in MODULES and name != "fashion.server"}


def room(module: str) -> int:
    return ROOMS.index(module.split(".")[2])


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"fashion.server"}))
def test_imports_lead_down(module):
    assert [other for other in imported(MODULES[module]) if room(other) < room(module)] == []


def test_no_imports_run_in_a_circle():
    arrows = {module: imported(file) for module, file in MODULES.items()}
    while leaves := {module for module, others in arrows.items() if not others & arrows.keys() - {module}}:
        arrows = {module: others for module, others in arrows.items() if module not in leaves}
    assert arrows == {}


def test_the_configuration_and_the_docstring_list_the_settings():
    fields = list(Settings.model_fields)
    assert list(yaml.safe_load((PROJECT / "configs" / "server" / "default.yaml").read_text())) == fields
    assert re.findall(r"^    (\w+): ", inspect.getdoc(Settings), flags=re.MULTILINE) == fields


def test_no_room_retypes_the_size_of_the_model_input():
    files = [*SERVER.rglob("*.py"), *SERVER.glob("templates/*"), SERVER / "static" / "page.js"]
    assert [file.name for file in files if re.search(r"\b28\b", file.read_text())] == []
