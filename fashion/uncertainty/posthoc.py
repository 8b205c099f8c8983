"""From a network's outputs to calibrated predictions, and to the decision whether to accept each of them."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from fashion.arrays import Probabilities, Scores
from fashion.card import Card
from fashion.uncertainty.abstention import Abstention, FeatureVectors
from fashion.uncertainty.calibration import at_temperature
from fashion.uncertainty.photo_ood import PhotoOodScore, regression_inputs

ALTERNATIVE_SHARE = 0.5  # a class at least this probable, relative to the predicted one, is named beside it


class Outputs(NamedTuple):
    """What a network computes for ``n`` images.

    Attributes:
        probabilities: Its uncalibrated softmax.
        features: The inputs of abstention; empty if they were not asked for.
    """

    probabilities: Probabilities
    features: FeatureVectors = ()


class Prediction(NamedTuple):
    """The predictions for ``n`` images; every field has a row for each.

    Attributes:
        probabilities: Calibrated.
        scores: Out-of-distribution scores; NaN for a model that has none.
        photo_probabilities: Calibrated, for objects segmented from photos.
        photo_scores: Out-of-distribution scores for objects segmented from photos.
    """

    probabilities: Probabilities
    scores: Scores
    photo_probabilities: Probabilities
    photo_scores: Scores


class Judgement(NamedTuple):
    """Whether a prediction is accepted.

    Attributes:
        decision: ``abstain`` if the image is too unlike those that the model was trained on.
        score: Its out-of-distribution score.
        threshold: The highest score that is accepted; None if all are.
    """

    decision: Literal["accept", "abstain"]
    score: float
    threshold: float | None


def also_likely(probabilities: Float[np.ndarray, " classes"]) -> list[int]:
    """Return an image's classes that are nearly as probable as the predicted one, most probable first; often none."""
    (likely,) = np.nonzero(probabilities >= ALTERNATIVE_SHARE * probabilities.max())
    order = likely[np.argsort(-probabilities[likely], kind="stable")]
    return [int(index) for index in order[1:]]


@dataclass(frozen=True)
class PosthocUncertainty:
    """A temperature and rules for abstention, fitted after training; the defaults leave the softmax unchanged.

    Attributes:
        temperature: Temperature of the softmax.
        abstention: The out-of-distribution score, if one was fitted.
        photo_ood: The same for photos, for a model that was trained on them.
        photo_priors: Each class's prior on photos relative to that on the training images; None if they are equal.
    """

    temperature: float = 1.0
    abstention: Abstention | None = None
    photo_ood: PhotoOodScore | None = None
    photo_priors: Float[np.ndarray, " classes"] | None = None

    @classmethod
    def from_card(cls, card: Card) -> "PosthocUncertainty":
        """Read it from a model's card; what the card lacks keeps its default."""
        abstention = Abstention.from_card(card.abstention) if card.abstention else None
        photos, priors = card.photo_abstention, card.photo_odds
        return cls(
            card.calibration.temperature if card.calibration else 1.0,
            abstention,
            PhotoOodScore.from_card(photos) if abstention and photos else None,
            np.array([priors[name] for name in card.classes], np.float32) if priors else None,
        )

    @property
    def threshold(self) -> float | None:
        """The highest score that is accepted; None if all are."""
        return self.abstention.threshold if self.abstention else None

    def prediction(self, outputs: Outputs) -> Prediction:
        """Return calibrated predictions with their out-of-distribution scores."""
        scores = photo_scores = np.full(len(outputs.probabilities), np.nan, np.float32)
        if self.abstention:
            scores = photo_scores = self.abstention.scores(outputs.features)
        if self.abstention and self.photo_ood:
            photo_scores = self.photo_ood.scores(regression_inputs(*outputs, self.abstention))
        probabilities = photo_probabilities = at_temperature(outputs.probabilities, self.temperature)
        if self.photo_priors is not None:
            weighted = outputs.probabilities * self.photo_priors
            photo_probabilities = at_temperature(weighted / weighted.sum(axis=1, keepdims=True), self.temperature)
        return Prediction(probabilities, scores, photo_probabilities, photo_scores)

    def judge(self, prediction: Prediction, row: int, *, photo: bool) -> Judgement:
        """Decide whether to accept the prediction for one image.

        Args:
            prediction: As returned by ``prediction``.
            row: The image's row in it.
            photo: Whether the object was segmented from a photo.
        """
        score = float((prediction.photo_scores if photo else prediction.scores)[row])
        threshold = self.photo_ood.threshold if photo and self.photo_ood else self.threshold
        # A score of NaN is not accepted.
        return Judgement("accept" if threshold is None or score <= threshold else "abstain", score, threshold)
