"""``format=web``: one HTML file that classifies images in a browser, without a server."""

import tempfile
from pathlib import Path

from fashion.export import onnx_format, web_page
from fashion.export.formats import ExportSource
from fashion.inference.onnx_engine import OnnxEngine


def write(source: ExportSource, path: Path) -> None:
    """Write a page; see ``fashion.export.formats.FormatModule``."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        onnx_format.write(source, file)
        path.write_text(web_page.render(source.card, file.read_bytes()), encoding="utf-8")


def open_engine(path: Path) -> OnnxEngine:
    """Return ONNX Runtime's session of the model in a page."""
    return OnnxEngine(web_page.model_in(path.read_text(encoding="utf-8")), threads=1)
