"""From what a network computes to an answer that says how far to trust it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fashion.card import Card
from fashion.uncertainty.abstention import Abstention
from fashion.uncertainty.calibration import at_temperature
from fashion.uncertainty.photo_ood import PhotoOodScore, evidence

BESIDE = 0.5  # of the answer's probability: from there on another class is named beside it


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
        photo_probabilities: ``(n, classes)`` float32, of what was cut out of a photo.
        photo_scores: ``(n,)`` float32, the same for what was cut out of a photo.
    """

    probabilities: np.ndarray
    scores: np.ndarray
    photo_probabilities: np.ndarray
    photo_scores: np.ndarray


class Judgement(NamedTuple):
    """Whether an answer is given.

    Attributes:
        decision: ``accept``, or ``abstain`` for a picture that is too unlike what the model knows.
        score: How unlike it is.
        threshold: The highest score that is accepted; None when everything is.
    """

    decision: str
    score: float
    threshold: float | None


def also_likely(probabilities: np.ndarray) -> list[int]:
    """Return the classes that stand beside the answer, the likeliest first; none where the answer stands alone.

    Args:
        probabilities: ``(classes,)``, of one image.
    """
    order = np.argsort(-probabilities, kind="stable")
    return [int(index) for index in order[1:] if probabilities[index] >= BESIDE * probabilities[order[0]]]


@dataclass(frozen=True)
class PosthocUncertainty:
    """A temperature and a way to abstain; without arguments, the network's own word is taken.

    Attributes:
        temperature: Of the softmax.
        abstention: The score of unlikeness, if it is known.
        photo_ood: The same for what was cut out of photos, for a model that was trained for them.
        photo_odds: ``(classes,)`` float32, how much likelier each class is on a photo than the network says; None:
            just as likely.
    """

    temperature: float = 1.0
    abstention: Abstention | None = None
    photo_ood: PhotoOodScore | None = None
    photo_odds: np.ndarray | None = None

    @classmethod
    def from_card(cls, card: Card) -> "PosthocUncertainty":
        """Read what was fitted from a card; a card without these entries changes nothing."""
        abstention = Abstention.from_card(card.abstention) if card.abstention else None
        photos, odds = card.photo_abstention, card.photo_odds
        return cls(
            card.calibration.temperature if card.calibration else 1.0,
            abstention,
            PhotoOodScore.from_card(photos) if abstention and photos else None,
            np.array([odds[name] for name in card.classes], np.float32) if odds else None,
        )

    @property
    def threshold(self) -> float | None:
        """The highest score that is accepted; None when everything is."""
        return self.abstention.threshold if self.abstention else None

    def prediction(self, outputs: Outputs) -> Prediction:
        """Turn what the network computed into answers."""
        scores = photo_scores = np.full(len(outputs.probabilities), np.nan, np.float32)
        if self.abstention:
            scores = photo_scores = self.abstention.scores(outputs.features)
        if self.abstention and self.photo_ood:
            photo_scores = self.photo_ood.scores(evidence(*outputs, self.abstention))
        probabilities = photo_probabilities = at_temperature(outputs.probabilities, self.temperature)
        if self.photo_odds is not None:
            weighted = outputs.probabilities * self.photo_odds
            photo_probabilities = at_temperature(weighted / weighted.sum(axis=1, keepdims=True), self.temperature)
        return Prediction(probabilities, scores, photo_probabilities, photo_scores)

    def judge(self, answer: Prediction, row: int, *, photo: bool) -> Judgement:
        """Decide whether to give an answer.

        Args:
            answer: What ``prediction`` returned.
            row: Which of its images.
            photo: Whether that image was cut out of a photo.
        """
        score = float((answer.photo_scores if photo else answer.scores)[row])
        threshold = self.photo_ood.threshold if photo and self.photo_ood else self.threshold
        # Not a number is no reason to accept.
        return Judgement("accept" if threshold is None or score <= threshold else "abstain", score, threshold)
