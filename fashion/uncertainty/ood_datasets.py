"""Pictures that are no piece of clothing, to see whether a model knows that it does not know them.

``reported`` are the ones that the report speaks of. ``development`` are of other kinds: the score was chosen with them,
so that nothing was chosen by what is reported.
"""

import importlib.util
import logging
import string
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from fashion.errors import FashionError, InputError
from fashion.preprocessing import decode
from fashion.preprocessing.model_input import SIDE, ModelInput

log = logging.getLogger(__name__)

SEED = 20_240_229
NOISE_IMAGES, TEXT_IMAGES = 1_000, 500
DIGIT_SIDE, DIGIT_LARGEST = 8, 16  # of scikit-learn's digits
PAGE_SIDE, PAGE_MARGIN = 240, 20
PICTURE_ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}


class Pictures(NamedTuple):
    """A set of pictures.

    Attributes:
        images: ``(n, 28, 28)`` uint8, 0-255.
        photos: ``(n,)`` bool, which of them were cut out of a photo.
    """

    images: np.ndarray
    photos: np.ndarray


def reported(photos: Path | None) -> dict[str, Pictures]:
    """Return the sets of pictures that the report speaks of, by name; without those whose package is not installed.

    Args:
        photos: A folder of folders of pictures, each a set of its own; or None.

    Raises:
        InputError: When the folder is missing, or a picture in it cannot be read.
    """
    random = np.random.default_rng(SEED)
    made = {
        "blank": blank(),
        "uniform noise": random.integers(0, 256, (NOISE_IMAGES, SIDE, SIDE), np.uint8),
        "Gaussian noise": _bytes(random.normal(0.5, 0.25, (NOISE_IMAGES, SIDE, SIDE))),
        "text": text(TEXT_IMAGES, random),
    }
    if _installed("sklearn", "handwritten digits"):
        made["handwritten digits"] = digits()
    sets = {name: Pictures(images, np.zeros(len(images), bool)) for name, images in made.items()}
    if _installed("skimage", "sample photos"):
        sets["sample photos"] = sample_photos()
    return sets if photos is None else sets | photo_folders(photos)


def blank() -> np.ndarray:
    """Return 256 images of one grey each: every grey there is."""
    return np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, SIDE, SIDE)).copy()


def digits() -> np.ndarray:
    """Return scikit-learn's 1,797 handwritten digits (Alpaydin and Kaynak, 1998, UCI), light on black."""
    from sklearn.datasets import load_digits

    small = load_digits().images * (255 / DIGIT_LARGEST)
    return np.stack([_resized(Image.fromarray(image.astype(np.uint8))) for image in small])


def sample_photos() -> Pictures:
    """Return the pictures inside the package scikit-image, and the quarters of each, prepared as a user's photo is."""
    spec = importlib.util.find_spec("skimage")
    folder = Path(str(spec and spec.origin)).parent / "data"
    prepared = []
    for picture in _pictures(folder):
        width, height = picture.size
        boxes = [(0, 0, width, height)]
        boxes += [(x, y, x + width // 2, y + height // 2) for y in (0, height // 2) for x in (0, width // 2)]
        prepared += [decode.prepare(picture.crop(box)) for box in boxes]
    return _stacked(prepared)


def text(count: int, random: np.random.Generator) -> np.ndarray:
    """Return pictures of one to four lines of random letters, dark on white paper, prepared as a user's photo is.

    Args:
        count: How many.
        random: Source of the letters and their size.
    """
    letters = list(string.ascii_letters + string.digits)
    images = []
    for _ in range(count):
        page = Image.new("L", (PAGE_SIDE, PAGE_SIDE), 255)
        lines = ["".join(random.choice(letters, random.integers(1, 9))) for _ in range(random.integers(1, 5))]
        font = ImageFont.load_default(int(random.integers(24, 72)))
        ImageDraw.Draw(page).text((PAGE_MARGIN, PAGE_MARGIN), "\n".join(lines), fill=0, font=font)
        images.append(decode.prepare(page).pixels)
    return np.stack(images)


def photo_folders(folder: Path) -> dict[str, Pictures]:
    """Return the pictures of each folder in a folder, prepared as a user's photo is.

    Raises:
        InputError: When there is no such folder, or no picture in it, or one cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"photos: there is no folder {folder}; expected one that holds folders of pictures")
    found = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        prepared = [decode.prepare(picture) for picture in _pictures(place)]
        if prepared:
            found[f"photos: {place.name}"] = _stacked(prepared)
    if not found:
        raise InputError(f"photos: no folder in {folder} holds a picture; expected PNG, JPEG or WebP files")
    return found


def development(images: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return outliers of kinds that are not reported, made of patterns and of broken training images.

    Args:
        images: ``(n, 28, 28)`` uint8, training images.
        random: Source of all choices.

    Returns:
        Each ``(n, 28, 28)`` uint8, 0-255.
    """
    count, side = len(images), SIDE
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
        "stripes": _bytes(stripes),
        "clouds": np.stack([_resized(Image.fromarray(_bytes(field))) for field in coarse]),
        "shuffled tiles": shuffled,
        "discs": _bytes(discs * random.uniform(0.3, 1, (count, 1, 1))),
        "inverted": 255 - images,
        "two overlaid": np.maximum(images, images[random.permutation(count), ::-1]),
    }


def _pictures(folder: Path) -> Iterator[Image.Image]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURE_ENDINGS:
            try:
                with path.open("rb") as stream:
                    yield ImageOps.exif_transpose(decode.decode(stream))
            except FashionError as error:
                raise InputError(f"{path}: {error}") from None


def _stacked(prepared: list[ModelInput]) -> Pictures:
    return Pictures(np.stack([each.pixels for each in prepared]), np.array([each.is_photo for each in prepared]))


def _resized(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _bytes(values: np.ndarray) -> np.ndarray:
    """Return values in [0, 1], clipped to it, as uint8."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _installed(module: str, what: str) -> bool:
    if importlib.util.find_spec(module) is None:
        log.info("%s: left out; .venv/bin/python scripts/setup_venv.py --extra evaluation brings them", what)
        return False
    return True
