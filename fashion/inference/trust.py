"""From what a network computes to an answer that says how far to trust it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fashion.inference.abstention import Abstention
from fashion.inference.calibration import at_temperature


class Outputs(NamedTuple):
    """What a network computes of ``n`` images.

    Attributes:
        probabilities: ``(n, classes)`` float32, its softmax as the model file gives it.
        features: Float32 arrays ``(n, d)``, that abstention looks at; none where it is not asked for.
    """

    probabilities: np.ndarray
    features: tuple[np.ndarray, ...] = ()


class Prediction(NamedTuple):
    """The answer to ``n`` images; every field has a row for each.

    Attributes:
        probabilities: ``(n, classes)`` float32, calibrated.
        scores: ``(n,)`` float32, how unlike the training images each is; NaN for a model without that knowledge.
    """

    probabilities: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Trust:
    """A temperature and a way to abstain; without arguments, the network's own word is taken.

    Attributes:
        temperature: Of the softmax.
        abstention: The score of unlikeness, if it is known.
    """

    temperature: float = 1.0
    abstention: Abstention | None = None

    @classmethod
    def from_card(cls, card: dict[str, Any]) -> "Trust":
        """Read what a card knows; older cards know nothing."""
        entry = card.get("abstention")
        temperature = card.get("calibration", {}).get("temperature", 1.0)
        return cls(temperature, Abstention.from_card(entry) if entry else None)

    @property
    def threshold(self) -> float | None:
        """The highest score that is accepted; None when everything is."""
        return self.abstention.threshold if self.abstention else None

    def prediction(self, outputs: Outputs) -> Prediction:
        """Turn what the network computed into answers."""
        scores = np.full(len(outputs.probabilities), np.nan, np.float32)
        if self.abstention:
            scores = self.abstention.scores(outputs.features)
        return Prediction(at_temperature(outputs.probabilities, self.temperature), scores)

    def decision(self, score: float) -> str:
        """Return ``accept``, or ``abstain`` for a picture that is too unlike the training images."""
        return "abstain" if self.threshold is not None and not score <= self.threshold else "accept"
