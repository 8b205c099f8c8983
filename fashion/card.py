"""The card of a trained model: what it is, its measured accuracy, and the digest of the file that it describes.

It is stored beside the model as JSON. Cards of earlier releases load although they lack some entries; unknown entries
are kept.
"""

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import pydantic

from fashion.card_faults import fault_of_classes, fault_of_example
from fashion.errors import InputError
from fashion.former_cards import upgraded
from fashion.preprocessing.input_spec import InputSpec

MODEL_SUFFIX = "_model.keras"  # after the name of the data
UPGRADED = {"input", "data", "page"}  # entries that cards of earlier releases lack
PositiveNumber = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
VERSION_LETTERS = 12  # of the digest: enough to tell models apart in a list


class Entry(pydantic.BaseModel):
    """A part of the card; entries that it does not list are kept as they are."""

    model_config = pydantic.ConfigDict(frozen=True, extra="allow")


class SplitScores(Entry):
    """How well the model did on the images of one split.

    Attributes:
        accuracy: Share of correct predictions.
        accuracy_low: Lower end of its 95 % interval.
        accuracy_high: Upper end of its 95 % interval.
        macro_accuracy: Mean recall of the classes.
        macro_accuracy_low: Lower end of its 95 % interval.
        macro_accuracy_high: Upper end of its 95 % interval.
        loss: Mean cross-entropy in nats, before calibration.
        images: How many images were measured.
    """

    accuracy: float
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    macro_accuracy: float | None = None
    macro_accuracy_low: float | None = None
    macro_accuracy_high: float | None = None
    loss: float | None = None
    images: int


class CalibrationScores(Entry):
    """Mean cross-entropy in nats and expected calibration error of the validation images."""

    loss: float
    ece: float


class CalibrationEntry(Entry):
    """The softmax temperature, fitted on the validation images."""

    temperature: PositiveNumber
    validation_before: CalibrationScores
    validation_after: CalibrationScores


class FeatureEntry(Entry):
    """The sizes and scales of one feature vector's Mahalanobis distance; see ``fashion.uncertainty.abstention``."""

    features: int
    axes: int
    classes: int
    direction: bool
    location: float
    spread: float


class AbstentionEntry(Entry):
    """When to abstain: a distance to the training images, and the highest one that is accepted.

    Attributes:
        validation_kept: Share of the validation images that the threshold accepts.
        method: What the score is, in words.
        threshold: The highest score that is accepted.
        parts: One for each feature vector.
        statistics_sha256: Digest of the arrays.
        statistics: The arrays, little-endian float16, base64.
    """

    validation_kept: float | None = None
    method: str
    threshold: float
    parts: list[FeatureEntry]
    statistics_sha256: str
    statistics: str

    @property
    def intact(self) -> bool:
        """Whether the arrays are the ones that were written."""
        try:
            content = base64.b64decode(self.statistics, validate=True)
        except binascii.Error:
            return False
        return hashlib.sha256(content).hexdigest() == self.statistics_sha256


class PhotoAbstentionEntry(Entry):
    """When to abstain from a photo: the weights of a logistic regression, and the highest score that is accepted."""

    validation_kept: float | None = None
    method: str
    threshold: float
    bias: float
    weights: list[float]


class DataEntry(Entry):
    """The data that the model was trained on.

    Attributes:
        name: In file names and addresses.
        title: As people write it.
        counts: Split to number of images.
        digests: Name of each file, or of the whole, to SHA-256.
        pixel_mean: Mean of each channel of the training images, in [0, 1].
        pixel_deviation: Standard deviation of each channel.
    """

    name: Annotated[str, pydantic.Field(pattern=r"^[a-z0-9_]+$")]
    title: str
    counts: dict[str, int] | None = None
    digests: dict[str, str]
    pixel_mean: tuple[float, ...]
    pixel_deviation: tuple[float, ...]


class PageEntry(Entry):
    """What the web page says about the data; see ``fashion.data.dataset.PageText``."""

    question: str
    subject: str
    limitations: tuple[str, ...] = ()


class ExampleEntry(Entry):
    """A test image to try the model on.

    Attributes:
        label: Its class.
        file: The model's pixels of it, as a PNG or JPEG file in base64.
    """

    label: str
    file: str

    @property
    def content(self) -> bytes:
        """The file."""
        return base64.b64decode(self.file)


class Card(Entry):
    """What is known of a trained model.

    Attributes:
        model_file: Name of the model file beside the card.
        sha256: Digest of the model file; empty until it is written.
        classes: Class names, in the order of the probabilities.
        input: The size of the model's input, and the preprocessing that image files need.
        output: What it returns, in words.
        test: Scores on the test images, measured once.
        validation: Scores on the validation images.
        parameters: Number of trained parameters.
        epochs: How many were trained.
        training_seconds: Time spent training.
        data: The data that it was trained on.
        page: What the web page says about that data.
        examples: Test images, one for each of a few classes.
        seed: The run's seed.
        config: The run's configuration, without paths.
        config_hash: Digest of it.
        backend: The Keras backend that trained the model.
        device: What that backend computed on.
        versions: Package to version.
        hardware: Processor, cores, memory and system.
        git: The commit, and whether the working tree differed from it.
        created: When the card was written, ISO 8601.
        calibration: The temperature.
        abstention: When to abstain.
        photo_odds: Class to the factor by which its probability is multiplied for photos.
        photo_abstention: When to abstain from a photo.
    """

    model_file: str | None = None
    sha256: str = ""
    classes: list[str]
    input: InputSpec
    output: str | None = None
    test: SplitScores
    validation: SplitScores | None = None
    parameters: int | None = None
    epochs: int | None = None
    training_seconds: float | None = None
    data: DataEntry
    page: PageEntry
    examples: list[ExampleEntry] = []
    seed: int
    config: dict[str, Any]
    config_hash: str | None = None
    backend: str
    device: str | None = None
    versions: dict[str, str] | None = None
    hardware: dict[str, Any] | None = None
    git: dict[str, Any] | None = None
    created: str | None = None
    calibration: CalibrationEntry | None = None
    abstention: AbstentionEntry | None = None
    photo_odds: dict[str, PositiveNumber] | None = None
    photo_abstention: PhotoAbstentionEntry | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _upgrade(cls, content: Any) -> Any:
        return upgraded(content) if isinstance(content, dict) else content

    @property
    def file_name(self) -> str:
        """Name of the model file."""
        return f"{self.data.name}{MODEL_SUFFIX}"

    @property
    def architecture(self) -> str:
        """The name of the function that built the network; empty if the configuration does not say it."""
        builder = self.config.get("model")
        return str(builder.get("_target_", "")).rpartition(".")[2] if isinstance(builder, dict) else ""

    @property
    def version(self) -> str:
        """The model's version: the beginning of its file's digest."""
        return self.sha256[:VERSION_LETTERS]

    def to_json(self) -> dict[str, Any]:
        """Return the entries that are set, as they are written."""
        return self.model_dump(mode="json", exclude_unset=True)


def model_file(folder: Path) -> Path:
    """Return the model file in a folder; where there is none, a path that does not exist.

    Raises:
        InputError: When there are several.
    """
    found = sorted(folder.glob(f"*{MODEL_SUFFIX}"))
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise InputError(f"{folder}: has {len(found)} models, {names}; name one of them")
    return found[0] if found else folder / f"*{MODEL_SUFFIX}"


def read_card(path: Path) -> Card:
    """Read and check a card.

    Raises:
        InputError: When it is missing, damaged or incomplete.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: the model's card is missing; keep both files together") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); copy the card again") from None
    try:
        card = Card.model_validate(content)
    except pydantic.ValidationError as error:
        raise InputError(f"{path}: {_fault(error, content)}; copy the card again") from None
    if not card.sha256:
        raise InputError(f"{path}: lacks sha256; copy the card again")
    if card.abstention and not card.abstention.intact:
        raise InputError(f"{path}: its abstention statistics are damaged; copy the card again")
    fault = fault_of_classes(card.classes)
    for example in card.examples:
        fault = fault or fault_of_example(example.label, example.file, card.classes)
    if fault:
        raise InputError(f"{path}: {fault}; copy the card again, or train a new model")
    return card


def _fault(error: pydantic.ValidationError, content: Any) -> str:
    required = {"sha256", *(name for name, field in Card.model_fields.items() if field.is_required())} - UPGRADED
    lacking = required - set(content) if isinstance(content, dict) else required
    if lacking:
        return f"lacks {', '.join(sorted(lacking))}"
    first = error.errors(include_url=False)[0]
    if first["loc"][0] == "abstention":
        return "its abstention statistics are damaged"
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
