"""Fit what makes answers trustworthy: a temperature, and a score of unlikeness with its threshold."""

import keras
import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from fashion.augment.photo import Photo
from fashion.card import CalibrationEntry, CalibrationScores, Card
from fashion.data.dataset import Dataset
from fashion.data.fashion_mnist import CLASSES
from fashion.data.split import stratified_sample
from fashion.inference.predictor import Predictor
from fashion.metrics import cross_entropy
from fashion.uncertainty.abstention import LEAST_DISTANCE, Abstention, Part, unit_length
from fashion.uncertainty.calibration import at_temperature
from fashion.uncertainty.photo_ood import PhotoOodScore, evidence
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty
from fashion.uncertainty.reliability import expected_calibration_error
from fashion.uncertainty.synthetic_ood import strangers

# Of validation images; of photographed ones, so many that a fifth of half of 290 real photos is declined.
KEPT, PHOTOS_KEPT = 0.95, 0.87
TEMPERATURES = (0.05, 20.0)
# Enough for a covariance of some hundred features, in a third of the time that all 54,000 take.
FITTED_IMAGES = 20_000
SUBSET_SEED = 0
MOST_AXES = 256
# Of the mean variance, added to every direction: a dead feature would be infinitely surprising.
RIDGE = 1e-6
# A prior of classes for photos: trained on were products, among which a shirt is anything for the upper body, and any
# strange outline a bag. The best of 320 on half of 341 photos, none of which shows a bag; the other half gains too.
PHOTO_ODDS = {"Pullover": 3.0, "Dress": 2.5, "Shirt": 0.65, "Sandal": 2.0, "Sneaker": 2.0, "Ankle boot": 2.0}
DECAY = 1e-3  # of the weights of a logistic regression, standardised


def fit(
    predictor: Predictor, data: Dataset, validation: Outputs, augment: keras.layers.Layer | None = None
) -> PosthocUncertainty:
    """Fit a trained network's temperature and abstention; the test images are not looked at.

    Args:
        predictor: Of the network, with its features.
        data: What it was trained on.
        validation: What it computes of the validation images.
        augment: What it was trained with; if that makes photos of them, abstention for photos is fitted too.
    """
    labels = data.train_labels
    random = np.random.Generator(np.random.PCG64(SUBSET_SEED))
    chosen = stratified_sample(labels, min(FITTED_IMAGES, len(labels)), random)
    training = predictor.outputs(data.train_images[chosen])
    temperature = fit_temperature(data.validation_labels, validation.probabilities)
    if not validation.features:
        return PosthocUncertainty(temperature)
    abstention = fit_abstention(training.features, labels[chosen], validation.features)
    if not isinstance(augment, Photo):
        return PosthocUncertainty(temperature, abstention)
    odds = np.array([PHOTO_ODDS.get(name, 1.0) for name in CLASSES], np.float32)
    return PosthocUncertainty(temperature, abstention, fit_photo_ood(predictor, data, abstention, augment), odds)


def add_to_card(card: Card, uncertainty: PosthocUncertainty, labels: np.ndarray, validation: Outputs) -> Card:
    """Return a card with what was fitted, in place of any earlier fit.

    Args:
        card: Of the same model.
        uncertainty: As fitted.
        labels: ``(n,)`` int64 of the validation images.
        validation: What the network computes of them.
    """
    after = uncertainty.prediction(validation).probabilities
    before, calibrated = (
        CalibrationScores(loss=cross_entropy(labels, rows), ece=expected_calibration_error(labels, rows))
        for rows in (validation.probabilities, after)
    )
    entries: dict[str, object] = {
        "calibration": CalibrationEntry(
            temperature=uncertainty.temperature, validation_before=before, validation_after=calibrated
        )
    }
    if uncertainty.abstention:
        entries["abstention"] = uncertainty.abstention.to_card().model_copy(update={"validation_kept": KEPT})
    if uncertainty.photo_odds is not None:
        entries["photo_odds"] = dict(zip(CLASSES, uncertainty.photo_odds.tolist(), strict=True))
    if uncertainty.photo_ood:
        kept = {"validation_kept": PHOTOS_KEPT}
        entries["photo_abstention"] = uncertainty.photo_ood.to_card().model_copy(update=kept)
    fitted = {"calibration", "abstention", "photo_odds", "photo_abstention"}
    return Card.model_validate(card.model_dump(exclude_unset=True, exclude=fitted)).model_copy(update=entries)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature at which labels are likeliest (Guo et al., 2017, arXiv:1706.04599).

    Args:
        labels: ``(n,)`` int64.
        probabilities: ``(n, classes)`` float32, uncalibrated.
    """

    def loss(log_temperature: float) -> float:  # has one minimum
        return cross_entropy(labels, at_temperature(probabilities, float(np.exp(log_temperature))))

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def fit_abstention(
    training: tuple[np.ndarray, ...], labels: np.ndarray, validation: tuple[np.ndarray, ...]
) -> Abstention:
    """Fit the distances on training features, their scale and the threshold on validation features.

    Args:
        training: For each part ``(n, d)`` float32; the first is what goes into the last layer.
        labels: ``(n,)`` int64 of the training images.
        validation: The same features of validation images.
    """
    parts = []
    for index, (features, unseen) in enumerate(zip(training, validation, strict=True)):
        part = fit_part(features, labels, direction=index == 0)
        logs = part.log_distances(unseen)
        parts.append(part._replace(location=float(logs.mean()), spread=float(max(logs.std(), LEAST_DISTANCE))))
    unlimited = Abstention(tuple(parts), threshold=np.inf)
    threshold = np.quantile(unlimited.scores(validation), KEPT, method="higher")
    return unlimited._replace(threshold=float(threshold))


def fit_photo_ood(predictor: Predictor, data: Dataset, abstention: Abstention, augment: Photo) -> PhotoOodScore:
    """Fit what tells photographed validation images from photographed strangers.

    Args:
        predictor: Of the network, with its features.
        data: What it was trained on.
        abstention: Fitted before.
        augment: What photographs.
    """
    random = np.random.Generator(np.random.PCG64(SUBSET_SEED))
    images, labels = data.validation_images, data.validation_labels
    made = strangers(images, labels, len(images), random)

    def seen(pixels: np.ndarray) -> np.ndarray:
        return evidence(*predictor.outputs(augment.photographed(pixels)), abstention)

    own, foreign, unseen = seen(images), seen(made), seen(images)
    weights, bias = _logistic_regression(own, foreign)
    unlimited = PhotoOodScore(weights, bias, threshold=np.inf)
    return unlimited._replace(threshold=float(np.quantile(unlimited.scores(unseen), PHOTOS_KEPT)))


def _logistic_regression(negative: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, float]:
    """Return weights ``(d,)`` and bias of the log-odds of positive, of ``(n, d)`` and ``(m, d)`` samples."""
    samples, labels = np.concatenate([negative, positive]), np.repeat([0.0, 1.0], [len(negative), len(positive)])
    mean, spread = samples.mean(axis=0), np.maximum(samples.std(axis=0), LEAST_DISTANCE)
    x = np.concatenate([(samples - mean) / spread, np.ones((len(samples), 1))], axis=1)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        odds = x @ weights
        value = np.mean(np.logaddexp(0, odds) - labels * odds) + DECAY / 2 * weights[:-1] @ weights[:-1]
        gradient = x.T @ (expit(odds) - labels) / len(x) + DECAY * np.append(weights[:-1], 0)
        return value, gradient

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    weights = found[:-1] / spread
    return weights, float(found[-1] - weights @ mean)


def fit_part(features: np.ndarray, labels: np.ndarray, *, direction: bool) -> Part:
    """Fit class means and the covariance that classes share, on the axes of largest variance.

    Args:
        features: ``(n, d)`` float32.
        labels: ``(n,)`` int64; every class occurs.
        direction: Whether features are brought to unit length first.
    """
    x = (unit_length(features) if direction else features).astype(np.float64)
    classes = np.unique(labels)
    mean = x.mean(axis=0).astype(np.float16).astype(np.float64)  # as it is stored
    x = x - mean
    _, vectors = np.linalg.eigh(x.T @ x)
    principal = vectors[:, -MOST_AXES:]
    placed = x @ principal
    centres = np.stack([placed[labels == number].mean(axis=0) for number in classes])
    within = placed - centres[np.searchsorted(classes, labels)]
    covariance = within.T @ within / len(within)
    ridge = RIDGE * max(np.trace(covariance) / len(covariance), LEAST_DISTANCE)
    variances, rotation = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    scale = np.median(variances) ** 0.5  # a common factor leaves no trace in the score, and float16 its range
    whiten = rotation * (scale / np.sqrt(np.maximum(variances, ridge)))
    mean, axes, centres = (
        array.astype(np.float16).astype(np.float32) for array in (mean, principal @ whiten, centres @ whiten)
    )
    return Part(mean, axes, centres, direction)
