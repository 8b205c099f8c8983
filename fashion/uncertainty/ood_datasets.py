"""Out-of-distribution images: does the model notice that they show no clothes?

``reported_sets`` are those in the report. ``development_sets`` are of other kinds: the score was chosen on them, so
that the reported numbers are not optimistic.
"""

import importlib.util
import logging
import string
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from fashion.arrays import Flags, GrayImage, GrayImages, Images
from fashion.errors import InputError
from fashion.preprocessing.decode import decode_file
from fashion.preprocessing.fashion_mnist import prepare
from fashion.preprocessing.fashion_mnist.spec import INPUT_SIDE
from fashion.preprocessing.formats import FILE_SUFFIXES, accepted
from fashion.preprocessing.model_input import ModelInput

log = logging.getLogger(__name__)

SEED = 20_240_229
NOISE_IMAGES, TEXT_IMAGES = 1_000, 500
MAX_DIGIT = 16  # the largest pixel value of scikit-learn's digits
PAGE_SIDE, PAGE_MARGIN = 240, 20


class ImageSet(NamedTuple):
    """A set of prepared images.

    Attributes:
        images: The model's pixels.
        photos: Which of them were segmented from a photo.
    """

    images: Images
    photos: Flags


def reported_sets() -> dict[str, ImageSet]:
    """Return the sets in the report by name, except those whose package is not installed."""
    random = np.random.default_rng(SEED)
    noise_shape = (NOISE_IMAGES, INPUT_SIDE, INPUT_SIDE)
    made = {
        "blank": blank(),
        "uniform noise": random.integers(0, 256, noise_shape, np.uint8),
        "Gaussian noise": _to_uint8(random.normal(0.5, 0.25, noise_shape)),
        "text": text(TEXT_IMAGES, random),
    }
    if _installed("sklearn", "handwritten digits"):
        made["handwritten digits"] = digits()
    sets = {name: ImageSet(images[..., np.newaxis], np.zeros(len(images), bool)) for name, images in made.items()}
    if _installed("skimage", "sample photos"):
        sets["sample photos"] = sample_photos()
    return sets


def blank() -> GrayImages:
    """Return 256 uniform images, one for each grey level."""
    return np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, INPUT_SIDE, INPUT_SIDE)).copy()


def digits() -> GrayImages:
    """Return scikit-learn's 1,797 handwritten digits (Alpaydin and Kaynak, 1998, UCI), light on black."""
    from sklearn.datasets import load_digits

    small = load_digits().images * (255 / MAX_DIGIT)
    return np.stack([_resized(Image.fromarray(image.astype(np.uint8))) for image in small])


def sample_photos() -> ImageSet:
    """Return the photos in the package scikit-image, and the quarters of each, preprocessed like a user's photo."""
    spec = importlib.util.find_spec("skimage")
    folder = Path(str(spec and spec.origin)).parent / "data"
    inputs = []
    for path in _image_files(folder):
        image = decode_file(path)
        width, height = image.size
        boxes = [(0, 0, width, height)]
        boxes += [(x, y, x + width // 2, y + height // 2) for y in (0, height // 2) for x in (0, width // 2)]
        inputs += [prepare(image.crop(box)) for box in boxes]
    return _image_set(inputs)


def text(count: int, random: np.random.Generator) -> UInt8[np.ndarray, "count h w"]:
    """Return images of one to four lines of random letters, dark on white paper, preprocessed like a user's image.

    Args:
        count: The number of images.
        random: Source of the letters and their size.
    """
    letters = list(string.ascii_letters + string.digits)
    images = []
    for _ in range(count):
        page = Image.new("L", (PAGE_SIDE, PAGE_SIDE), 255)
        lines = ["".join(random.choice(letters, random.integers(1, 9))) for _ in range(random.integers(1, 5))]
        font = ImageFont.load_default(int(random.integers(24, 72)))
        ImageDraw.Draw(page).text((PAGE_MARGIN, PAGE_MARGIN), "\n".join(lines), fill=0, font=font)
        images.append(prepare(page).pixels[..., 0])
    return np.stack(images)


def photo_folders(folder: Path) -> tuple[dict[str, ImageSet], list[str]]:
    """Return the images of each folder in a folder, preprocessed like a user's photo.

    Returns:
        The sets by name, and what is wrong with each file that cannot be read.

    Raises:
        InputError: When there is no such folder, or no image in it that can be read.
    """
    if not folder.is_dir():
        raise InputError(f"photos: there is no folder {folder}; expected one that contains folders of images")
    found: dict[str, ImageSet] = {}
    unreadable: list[str] = []
    for subfolder in sorted(path for path in folder.iterdir() if path.is_dir()):
        inputs = []
        for path in _image_files(subfolder):
            try:
                inputs.append(prepare(decode_file(path)))
            except InputError as error:
                unreadable.append(str(error))
        if inputs:
            found[f"photos: {subfolder.name}"] = _image_set(inputs)
    if not found and unreadable:
        raise InputError(f"photos: no image in {folder} can be read; {unreadable[0]}")
    if not found:
        raise InputError(f"photos: no folder in {folder} contains an image; expected {accepted()} files")
    return found, unreadable


def development_sets(images: GrayImages, random: np.random.Generator) -> dict[str, GrayImages]:
    """Return out-of-distribution images of kinds that are not reported: patterns, and corrupted training images.

    Args:
        images: Training images.
        random: Source of all choices.
    """
    count, side = len(images), INPUT_SIDE
    y, x = np.mgrid[:side, :side]
    angle, wave, phase = (random.uniform(low, high, (count, 1, 1)) for low, high in ((0, 3.15), (2, 14), (0, 6.3)))
    stripes = 0.5 + 0.5 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wave + phase)
    coarse = random.random((count, 7, 7))
    tiles = images.reshape(count, 4, 7, 4, 7).transpose(0, 1, 3, 2, 4).reshape(count, 16, 7, 7)
    shuffled = np.stack([tile[random.permutation(16)] for tile in tiles])
    shuffled = shuffled.reshape(count, 4, 4, 7, 7).transpose(0, 1, 3, 2, 4).reshape(count, side, side)
    centre, radius = random.uniform(8, 20, (2, count, 1, 1)), random.uniform(3, 12, (count, 1, 1))
    discs = np.hypot(x - centre[0], y - centre[1]) < radius
    return {
        "stripes": _to_uint8(stripes),
        "clouds": np.stack([_resized(Image.fromarray(_to_uint8(field))) for field in coarse]),
        "shuffled tiles": shuffled,
        "discs": _to_uint8(discs * random.uniform(0.3, 1, (count, 1, 1))),
        "inverted": 255 - images,
        "two overlaid": np.maximum(images, images[random.permutation(count), ::-1]),
    }


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in FILE_SUFFIXES)


def _image_set(inputs: list[ModelInput]) -> ImageSet:
    return ImageSet(np.stack([each.pixels for each in inputs]), np.array([each.is_photo for each in inputs]))


def _resized(image: Image.Image) -> GrayImage:
    return np.asarray(image.resize((INPUT_SIDE, INPUT_SIDE), Image.Resampling.BILINEAR))


def _to_uint8(values: Float[np.ndarray, " *shape"]) -> UInt8[np.ndarray, " *shape"]:
    """Return values as uint8, clipped to [0, 1] and scaled."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _installed(module: str, name: str) -> bool:
    if importlib.util.find_spec(module) is None:
        log.info("%s: skipped; to include them: .venv/bin/python scripts/setup_venv.py --extra evaluation", name)
        return False
    return True
