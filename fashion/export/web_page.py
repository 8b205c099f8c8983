"""The page of ``format=web``, which holds a model, ONNX Runtime and, where the preprocessing needs it, OpenCV.

Both are compiled for browsers. The preprocessing is that of the server, in JavaScript.
"""

import base64
import functools
import gzip
import importlib
import json
import re
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

from fashion.card import Card
from fashion.export.npm_packages import ONNX_RUNTIME_WEB, OPENCV, NpmPackage, read_member
from fashion.paths import PROJECT
from fashion.preprocessing.fashion_mnist.colour_maps import COLOUR_MAPS
from fashion.preprocessing.formats import FORMATS

PREPROCESSING = PROJECT / "fashion" / "preprocessing"
COMMON = (PREPROCESSING / "web" / "pillow.js", PREPROCESSING / "web" / "decode.js")
# The scripts of each preprocessing.
OWN = {
    "resize": (PREPROCESSING / "web" / "resize.js",),
    "fashion_mnist": tuple(sorted((PREPROCESSING / "fashion_mnist").glob("*.js"))),
}
STYLE = PROJECT / "fashion" / "server" / "static" / "style.css"
TEMPLATES = Path(__file__).parent / "templates"
MODEL = re.compile(r'<script id="model" type="[^"]*">([^<]*)</script>')
TINY_SIDE = 64  # pixels: smaller images are shown enlarged, in squares


def model_in(page: str) -> bytes:
    """Return the ONNX file in a page."""
    found = MODEL.search(page)
    if found is None:
        raise ValueError("the page has no model")
    return gzip.decompress(base64.b64decode(found[1]))


def render(card: Card, model: bytes) -> str:
    """Return the page of a model.

    Args:
        card: The model's card.
        model: Its ONNX file.
    """
    binaries = {
        "model": _packed(model),
        "onnxruntime-js": _packed_member(ONNX_RUNTIME_WEB, "dist/ort.wasm.bundle.min.mjs"),
        "onnxruntime-wasm": _packed_member(ONNX_RUNTIME_WEB, "dist/ort-wasm-simd-threaded.wasm"),
    }
    runtime: Any = importlib.import_module("onnxruntime")  # of the same project and licence, with its text
    licences = [f"ONNX Runtime Web {ONNX_RUNTIME_WEB.version}\n\n" + _licence(Path(runtime.__file__).parent)]
    scripts = [*COMMON, *OWN[card.input.preprocessing], TEMPLATES / "page.js"]
    constants = ""
    if card.input.preprocessing == "fashion_mnist":
        binaries["opencv"] = _packed_member(OPENCV, "dist/opencv.js")
        licences.append(f"OpenCV {OPENCV.version}\n\n" + read_member(OPENCV, "LICENSE").decode())
        constants = f"const COLOUR_MAPS = {json.dumps(_colour_maps())};\n"
    binaries["licence-texts"] = _packed("\n\n".join(licences).encode())
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html").render(
        card=card,
        settings=_settings(card),
        binaries={name: Markup(content) for name, content in binaries.items()},
        style=Markup(STYLE.read_text(encoding="utf-8")),
        script=Markup(constants + "\n".join(file.read_text(encoding="utf-8") for file in scripts)),
        accept=",".join(media_type for each in FORMATS.values() for media_type in each.media_types),
        is_tiny=max(card.input.shape[:2]) <= TINY_SIDE,
        licences=[text.splitlines()[0] for text in licences],
    )


def _settings(card: Card) -> dict[str, Any]:
    """Return what the script reads."""
    photos, abstention = card.photo_abstention, card.abstention
    threshold = abstention.threshold if abstention else None
    return {
        "classes": card.classes,
        "input": card.input.model_dump(),
        "threshold": threshold,
        "photo_threshold": photos.threshold if abstention and photos else threshold,
        "examples": [{"label": each.label, "file": each.file} for each in card.examples],
    }


@functools.cache  # packing the runtime takes seconds
def _packed_member(package: NpmPackage, name: str) -> str:
    return _packed(read_member(package, name))


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _licence(folder: Path) -> str:
    return "\n\n".join((folder / name).read_text(encoding="utf-8") for name in ("LICENSE", "ThirdPartyNotices.txt"))


def _colour_maps() -> dict[str, Any]:
    """Return the 256 colours of each map, as red, green and blue."""
    levels = np.arange(256, dtype=np.uint8)
    return {
        name: cv2.applyColorMap(levels, number)[:, 0, ::-1].ravel().tolist() for name, number in COLOUR_MAPS.items()
    }
