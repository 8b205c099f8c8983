"""Rendered photos: test images of Fashion-MNIST as coloured garments on synthetic floors.

They illustrate the photo pipeline with images that anyone may copy. A rendered garment is easier than a real one, so
their accuracy says nothing about photos.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from fashion.figures import saved_figure
from fashion.inference.predictor import Predictor
from fashion.inference.tta import predict_with_tta
from fashion.palette import ACCENT, INK
from fashion.preprocessing import decode
from fashion.preprocessing.fashion_mnist import prepare
from fashion.preprocessing.model_input import ModelInput

SIDE = 640  # pixels of a scene
GARMENT_SIDE = 460  # pixels of the square that 28 x 28 pixels are enlarged to
VISIBLE = 100  # 0-255: darker pixels of a test image are partly background
SQUARE = np.ones((3, 3), np.uint8)
WHITE = 255  # around a segmented object
QUALITY = 88  # of the JPEG files


class Scene(NamedTuple):
    """One garment on one floor.

    Attributes:
        name: Name of its JPEG file.
        position: Position of the image in the test set.
        floor: A key of ``FLOORS``.
        color: RGB of the brightest fabric, 0-255.
        degrees: The garment is rotated by this, counter-clockwise.
        offset: The garment's centre from the scene's, in pixels to the right and down.
    """

    name: str
    position: int
    floor: str
    color: tuple[int, int, int]
    degrees: float
    offset: tuple[int, int]


SCENES = (
    Scene("t_shirt", 19, "planks", (178, 70, 58), 8, (10, -6)),
    Scene("pullover", 20, "sheet", (74, 128, 104), 5, (8, 4)),
    Scene("dress", 29, "tiles", (150, 78, 138), -9, (0, 4)),
    Scene("trouser", 5, "carpet", (84, 108, 160), -6, (-12, 6)),
    Scene("bag", 30, "lawn", (168, 104, 58), 4, (10, 6)),
    Scene("ankle_boot", 28, "planks", (92, 84, 84), -5, (-8, 12)),
)


class Answered(NamedTuple):
    """A scene on its way through the photo pipeline.

    Attributes:
        scene: What was drawn.
        label: The test image's class.
        photo: The JPEG file.
        prepared: The model input, and the segmentation mask.
        answer: The predicted class.
        confidence: Its probability.
        decision: ``accept`` or ``abstain``.
    """

    scene: Scene
    label: str
    photo: bytes
    prepared: ModelInput
    answer: str
    confidence: float
    decision: str


def answer(images: np.ndarray, labels: np.ndarray, predictor: Predictor, classes: list[str]) -> list[Answered]:
    """Render the scenes and classify them.

    Args:
        images: ``(n, 28, 28)`` uint8, the test images.
        labels: ``(n,)`` their classes.
        predictor: The model.
        classes: Its classes.
    """
    answered = []
    for scene in SCENES:
        photo = io.BytesIO()
        Image.fromarray(render(images[scene.position], scene)).save(photo, "JPEG", quality=QUALITY)
        prepared = prepare(decode.decode(io.BytesIO(photo.getvalue())))
        prediction = predict_with_tta([prepared], predictor.predict)
        (probabilities,) = prediction.probabilities
        index = int(probabilities.argmax())
        decision = predictor.uncertainty.judge(prediction, 0, photo=prepared.is_photo).decision
        label = classes[labels[scene.position]]
        answered.append(
            Answered(scene, label, photo.getvalue(), prepared, classes[index], float(probabilities[index]), decision)
        )
    return answered


def table(answered: list[Answered]) -> str:
    """Return the answers as the lines that a terminal shows."""
    lines = [f"{'scene':<16}{'answer':<14}confidence  decision"]
    for each in answered:
        lines.append(f"{each.scene.name + '.jpg':<16}{each.answer:<14}{each.confidence:>9.1%}   {each.decision}")
    return "\n".join(lines)


def chart(answered: list[Answered], path: Path) -> None:
    """Draw photo, segmentation, model input and answer of each scene, one column each, as a PNG."""
    with saved_figure(path, 10, 5.4, "From a photo to an answer") as figure:
        axes = figure.subplots(3, len(answered))
        for column, each in enumerate(answered):
            photo = np.asarray(Image.open(io.BytesIO(each.photo)))
            for row, image in enumerate((photo, _segmented(photo, each.prepared), each.prepared.pixels)):
                axes[row, column].imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes[row, column].set(xticks=[], yticks=[])
                axes[row, column].grid(visible=False)
                axes[row, column].spines[:].set_visible(False)
            sure = f"{each.confidence:.0%}" if each.decision == "accept" else f"{each.confidence:.0%}, not sure"
            right = each.answer == each.label
            verdict = f"{each.answer}\n{sure}" if right else f"{each.answer}, not {each.label}\n{sure}"
            axes[2, column].set_xlabel(verdict, color=INK if right else ACCENT)
        for row, name in enumerate(("photo", "segmentation", "model input")):
            axes[row, 0].set_ylabel(name)


def _segmented(photo: np.ndarray, prepared: ModelInput) -> np.ndarray:
    if prepared.mask is None:
        return photo
    mask = cv2.resize(prepared.mask.astype(np.uint8), photo.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.where(mask[..., np.newaxis] > 0, photo, np.uint8(WHITE))


def render(pixels: np.ndarray, scene: Scene) -> np.ndarray:
    """Lay a garment on a floor, with a shadow, light from one side and grain.

    Args:
        pixels: ``(28, 28)`` uint8, 0-255, light on black.
        scene: What to draw; equal scenes give equal pixels.

    Returns:
        ``(640, 640, 3)`` uint8 RGB, 0-255.
    """
    random = np.random.default_rng(scene.position)
    cloth, coverage = _garment(pixels, scene, random)
    floor = FLOORS[scene.floor](random)
    shadow = cv2.GaussianBlur(np.roll(coverage, (14, 10), (0, 1)), (0, 0), 12)
    floor = floor * (1 - 0.45 * shadow[..., np.newaxis])
    photo = coverage[..., np.newaxis] * cloth + (1 - coverage[..., np.newaxis]) * floor
    x = np.linspace(1.06, 0.92, SIDE, dtype=np.float32)  # light from the left
    photo = photo * x[np.newaxis, :, np.newaxis] + 3 * _noise(random, 1)[..., np.newaxis]
    return np.asarray(np.clip(np.round(photo), 0, 255), np.uint8)


def _garment(pixels: np.ndarray, scene: Scene, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(h, w, 3)`` float32 cloth, 0-255, and its ``(h, w)`` coverage in [0, 1], in place on the scene."""
    present = np.clip(pixels / VISIBLE, 0, 1).astype(np.float32)
    # Pixels on the outline are mixed with the background: they take the brightness of their neighbours.
    inner = cv2.erode(present, SQUARE, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    cloth = np.where(inner < 1, cv2.dilate(pixels, SQUARE), pixels)
    to_scene = np.array(cv2.getRotationMatrix2D((13.5, 13.5), scene.degrees, GARMENT_SIDE / 28), np.float64)
    to_scene[:, 2] += (SIDE - 1) / 2 + np.array(scene.offset) - 13.5

    def placed(image: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.warpAffine(image.astype(np.float32), to_scene, (SIDE, SIDE), flags=cv2.INTER_CUBIC))

    coverage = np.clip((cv2.GaussianBlur(placed(present), (0, 0), 5) - 0.45) / 0.1, 0, 1)
    negated = 1 - placed(cloth) / 255  # dark cloth is bright in the data set
    folds = 1 + 0.05 * _noise(random, 70) + 0.04 * _noise(random, 2)
    shade = (0.45 + 0.9 * np.clip(negated, 0, 1)) * folds
    return shade[..., np.newaxis] * np.array(scene.color, np.float32), coverage


def _noise(random: np.random.Generator, width: int, height: int | None = None) -> np.ndarray:
    """Return ``(h, w)`` float32 noise of deviation 1 that varies over about so many pixels."""
    size = (SIDE // (height or width) + 2, SIDE // width + 2)
    coarse = random.standard_normal(size, np.float32)
    fine = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) if width > 1 else coarse[:SIDE, :SIDE]
    return np.asarray((fine - fine.mean()) / fine.std())


def _tinted(brightness: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return brightness[..., np.newaxis] * np.array(color, np.float32)


def _planks(random: np.random.Generator) -> np.ndarray:
    height = 128
    rows = np.arange(SIDE) // height
    tone = random.uniform(0.85, 1.1, SIDE // height + 1)[rows][:, np.newaxis]
    grain = 1 + 0.05 * _noise(random, 160, 4) + 0.03 * _noise(random, 60, 2)
    seams = np.where((np.arange(SIDE) % height < 3)[:, np.newaxis], 0.55, 1)
    return _tinted((tone * grain * seams).astype(np.float32), (205, 165, 115))


def _carpet(random: np.random.Generator) -> np.ndarray:
    return _tinted(1 + 0.07 * _noise(random, 2) + 0.03 * _noise(random, 40), (196, 186, 168))


def _sheet(random: np.random.Generator) -> np.ndarray:
    return _tinted(1 + 0.045 * _noise(random, 90, 50) + 0.02 * _noise(random, 30), (214, 212, 205))


def _tiles(random: np.random.Generator) -> np.ndarray:
    side = 160
    grout = (np.arange(SIDE) % side < 5)[:, np.newaxis] | (np.arange(SIDE) % side < 5)[np.newaxis]
    tone = random.uniform(0.94, 1.05, (SIDE // side, SIDE // side)).repeat(side, 0).repeat(side, 1)
    return _tinted((np.where(grout, 0.72, tone) + 0.02 * _noise(random, 4)).astype(np.float32), (198, 204, 206))


def _lawn(random: np.random.Generator) -> np.ndarray:
    return _tinted(1 + 0.13 * _noise(random, 2, 9) + 0.06 * _noise(random, 50), (140, 176, 96))


FLOORS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "planks": _planks,
    "carpet": _carpet,
    "sheet": _sheet,
    "tiles": _tiles,
    "lawn": _lawn,
}
