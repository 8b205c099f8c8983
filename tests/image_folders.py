"""Folders of small images, and their data sets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fashion.data.dataset import Dataset
from fashion.data.folder import folder
from fashion.data.manifest import manifest

OPTIONS: dict[str, Any] = {
    "image_size": 28,
    "color_mode": "rgb",
    "fit": "stretch",
    "limit": None,
    "validation_fraction": 0.2,
    "test_fraction": 0.2,
    "on_bad_image": "fail",
    "cache_gb": 1.0,
}


def pixels(seed: int, size: int = 28, channels: int = 3) -> np.ndarray:
    """Random pixels, different for each seed: ``(size, size, channels)`` uint8."""
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), np.uint8)


def write_image(path: Path, seed: int, size: int = 28) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, size)).save(path)
    return path


def write_classes(root: Path, counts: Mapping[str, int], first_seed: int = 0) -> Path:
    """Write so many PNGs, all of them different, into a folder for each class."""
    seed = first_seed
    for name, count in counts.items():
        for number in range(count):
            write_image(root / name / f"{number}.png", seed)
            seed += 1
    return root


def load_folder(root: Path, seed: int = 0, **options: Any) -> Dataset:
    return folder(str(root), **{**OPTIONS, "cache": str(root.parent / "cache"), **options}, seed=seed)


def load_manifest(file: Path, seed: int = 0, **options: Any) -> Dataset:
    return manifest(str(file), **{**OPTIONS, "cache": str(file.parent / ".cache"), **options}, seed=seed)
