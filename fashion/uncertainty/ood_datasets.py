"""Out-of-distribution images for a model of any size: does it notice that they show none of its classes?

The score was chosen on images of other kinds (``fashion.data.fashion_mnist.synthetic_ood.development_sets``), so that
the reported numbers are not optimistic. A model that was trained on digits, letters or photos of the same things should
accept the set that shows them.
"""

import importlib.util
import logging
import math
import string
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from fashion.arrays import Flags, Images
from fashion.arrays import Image as ImageArray
from fashion.errors import InputError
from fashion.extras import install_command
from fashion.preprocessing.decode import decode_file
from fashion.preprocessing.formats import FILE_SUFFIXES, accepted
from fashion.preprocessing.input_spec import InputSpec
from fashion.preprocessing.model_input import ModelInput
from fashion.preprocessing.prepare import decode_side, prepare

log = logging.getLogger(__name__)

SEED = 20_240_229
NOISE_IMAGES, TEXT_IMAGES = 1_000, 500
MAX_DIGIT = 16  # the largest pixel value of scikit-learn's digits
PAGE_SIDE, PAGE_MARGIN = 240, 20
MAX_SET_BYTES = 2**27  # of one set: for large images a set has fewer of them


class ImageSet(NamedTuple):
    """A set of prepared images.

    Attributes:
        images: The model's pixels.
        photos: Which of them were segmented from a photo.
    """

    images: Images
    photos: Flags


def reported_sets(spec: InputSpec) -> dict[str, ImageSet]:
    """Return the sets in the report by name, except those whose package is not installed.

    Args:
        spec: The model's input.
    """
    random = np.random.default_rng(SEED)
    noise_shape = (_at_most(NOISE_IMAGES, spec), *spec.shape)
    made = {
        "blank": blank(spec),
        "uniform noise": random.integers(0, 256, noise_shape, np.uint8),
        "Gaussian noise": np.stack([_to_uint8(random.normal(0.5, 0.25, spec.shape)) for _ in range(noise_shape[0])]),
        "text": text(_at_most(TEXT_IMAGES, spec), spec, random),
    }
    if _installed("sklearn", "handwritten digits"):
        made["handwritten digits"] = digits(spec)
    sets = {name: ImageSet(images, np.zeros(len(images), bool)) for name, images in made.items()}
    if _installed("skimage", "sample photos"):
        sets["sample photos"] = sample_photos(spec)
    return sets


def blank(spec: InputSpec) -> Images:
    """Return uniform images, one for each grey level; fewer levels for large images."""
    levels = np.linspace(0, 255, _at_most(256, spec)).round().astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (len(levels), *spec.shape)).copy()


def digits(spec: InputSpec) -> Images:
    """Return scikit-learn's 1,797 handwritten digits (Alpaydin and Kaynak, 1998, UCI), light on black."""
    from sklearn.datasets import load_digits

    small = load_digits().images * (255 / MAX_DIGIT)
    small = small[: _at_most(len(small), spec)]
    size = (spec.width, spec.height)
    grey = [Image.fromarray(image.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR) for image in small]
    return np.repeat(np.stack([np.asarray(image) for image in grey])[..., np.newaxis], spec.channels, axis=3)


def sample_photos(spec: InputSpec) -> ImageSet:
    """Return the photos in the package scikit-image, and the quarters of each, preprocessed like a user's photo."""
    package = importlib.util.find_spec("skimage")
    folder = Path(str(package and package.origin)).parent / "data"
    inputs = []
    for path in _image_files(folder):
        image = decode_file(path, decode_side(spec))
        width, height = image.size
        boxes = [(0, 0, width, height)]
        boxes += [(x, y, x + width // 2, y + height // 2) for y in (0, height // 2) for x in (0, width // 2)]
        inputs += [prepare(image.crop(box), spec) for box in boxes]
    return _image_set(inputs)


def text(count: int, spec: InputSpec, random: np.random.Generator) -> Images:
    """Return images of one to four lines of random letters, dark on white paper, preprocessed like a user's image.

    Args:
        count: The number of images.
        spec: The model's input.
        random: Source of the letters and their size.
    """
    letters = list(string.ascii_letters + string.digits)
    images = []
    for _ in range(count):
        page = Image.new("L", (PAGE_SIDE, PAGE_SIDE), 255)
        lines = ["".join(random.choice(letters, random.integers(1, 9))) for _ in range(random.integers(1, 5))]
        font = ImageFont.load_default(int(random.integers(24, 72)))
        ImageDraw.Draw(page).text((PAGE_MARGIN, PAGE_MARGIN), "\n".join(lines), fill=0, font=font)
        images.append(prepare(page, spec).pixels)
    return np.stack(images)


def photo_folders(folder: Path, spec: InputSpec) -> tuple[dict[str, ImageSet], list[str]]:
    """Return the images of each folder in a folder, preprocessed like a user's photo.

    Args:
        folder: Contains the folders.
        spec: The model's input.

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
                inputs.append(prepare(decode_file(path, decode_side(spec)), spec))
            except InputError as error:
                unreadable.append(str(error))
        if inputs:
            found[f"photos: {subfolder.name}"] = _image_set(inputs)
    if not found and unreadable:
        raise InputError(f"photos: no image in {folder} can be read; {unreadable[0]}")
    if not found:
        raise InputError(f"photos: no folder in {folder} contains an image; expected {accepted()} files")
    return found, unreadable


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in FILE_SUFFIXES)


def _image_set(inputs: list[ModelInput]) -> ImageSet:
    return ImageSet(np.stack([each.pixels for each in inputs]), np.array([each.is_photo for each in inputs]))


def _at_most(count: int, spec: InputSpec) -> int:
    """Return a number of images, or how many of them the largest set may have."""
    return min(count, MAX_SET_BYTES // math.prod(spec.shape))


def _to_uint8(values: Float[np.ndarray, "h w c"]) -> ImageArray:
    """Return values as uint8, clipped to [0, 1] and scaled."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _installed(module: str, name: str) -> bool:
    if importlib.util.find_spec(module) is None:
        log.info("%s: skipped; to include them: %s", name, install_command("evaluation"))
        return False
    return True
