"""Fit post-hoc uncertainty after training: a temperature, and out-of-distribution scores with their thresholds."""

from collections.abc import Callable

import keras
import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from fashion.arrays import Features, GrayImages, Labels, Pixels, Positions, Probabilities
from fashion.augment.photo import Photo
from fashion.card import CalibrationEntry, CalibrationScores, Card
from fashion.data.dataset import Dataset, PhotoKnowledge, Split
from fashion.data.image_rows import ImageArray
from fashion.data.split import stratified_sample
from fashion.metrics import cross_entropy
from fashion.uncertainty.abstention import MIN_DISTANCE, Abstention, FeatureVectors, MahalanobisDistance, unit_length
from fashion.uncertainty.calibration import at_temperature
from fashion.uncertainty.photo_ood import PhotoOodScore, regression_inputs
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty
from fashion.uncertainty.reliability import expected_calibration_error

# Shares of the validation images, and of those that were made photo-like, that the thresholds accept. The second makes
# a model abstain on a fifth of one half of 290 real photos.
ACCEPTED, PHOTOS_ACCEPTED = 0.95, 0.87
TEMPERATURES = (0.05, 20.0)
# Enough for a covariance of a few hundred features, in a third of the time that all 54,000 take.
FITTED_IMAGES = 20_000
SUBSET_SEED = 0
PART = 2_048  # images, of any size: a multiple of the predictor's largest batch
MAX_AXES = 256
# With fewer, the 5 % that a threshold excludes would be less than one image.
MIN_VALIDATION_IMAGES = 20
# Relative to the mean variance, added in every direction: a dead feature would make every distance infinite.
RIDGE = 1e-6
WEIGHT_DECAY = 1e-3  # of the logistic regression's weights, on standardised inputs

# From images to what a network computes for them, with its features.
Network = Callable[[Pixels], Outputs]


def fit_uncertainty(
    network: Network,
    data: Dataset,
    validation: Outputs,
    augment: keras.layers.Layer | None = None,
    training_features: FeatureVectors | None = None,
) -> PosthocUncertainty:
    """Fit a trained network's temperature and abstention; the test images are not used.

    Args:
        network: The network, with its features.
        data: What it was trained on.
        validation: Its outputs for the validation images.
        augment: The augmentation it was trained with; if that is ``Photo``, and the data set has knowledge of photos,
            abstention on photos is fitted as well.
        training_features: Its features of each training image; None to compute them.
    """
    labels = data.train.labels
    random = np.random.Generator(np.random.PCG64(SUBSET_SEED))
    chosen = stratified_sample(labels, min(FITTED_IMAGES, len(labels)), random)
    temperature = fit_temperature(data.validation.labels, validation.probabilities)
    if not validation.features or len(data.validation) < MIN_VALIDATION_IMAGES:
        return PosthocUncertainty(temperature)
    if training_features is None:
        training = _in_parts(network, data.train.images, chosen)
    else:
        training = tuple(features[chosen] for features in training_features)
    abstention = fit_abstention(training, labels[chosen], validation.features)
    if not isinstance(augment, Photo) or data.photos is None:
        return PosthocUncertainty(temperature, abstention)
    priors = np.array([data.photos.priors.get(name, 1.0) for name in data.classes], np.float32)
    photo_ood = fit_photo_ood(network, data.validation, data.photos, abstention, augment)
    return PosthocUncertainty(temperature, abstention, photo_ood, priors)


def _in_parts(network: Network, images: ImageArray, rows: Positions) -> FeatureVectors:
    """Return a network's features of some of the images, which are never all in memory."""
    parts = [network(images[rows[start : start + PART]]).features for start in range(0, len(rows), PART)]
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def add_to_card(card: Card, uncertainty: PosthocUncertainty, labels: Labels, validation: Outputs) -> Card:
    """Return a card with a fitted uncertainty, in place of any earlier fit.

    Args:
        card: The same model's.
        uncertainty: As fitted.
        labels: Labels of the validation images.
        validation: The network's outputs for them.
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
        entries["abstention"] = uncertainty.abstention.to_card().model_copy(update={"validation_kept": ACCEPTED})
    if uncertainty.photo_priors is not None:
        entries["photo_odds"] = dict(zip(card.classes, uncertainty.photo_priors.tolist(), strict=True))
    if uncertainty.photo_ood:
        accepted = {"validation_kept": PHOTOS_ACCEPTED}
        entries["photo_abstention"] = uncertainty.photo_ood.to_card().model_copy(update=accepted)
    fitted = {"calibration", "abstention", "photo_odds", "photo_abstention"}
    return Card.model_validate(card.model_dump(exclude_unset=True, exclude=fitted)).model_copy(update=entries)


def fit_temperature(labels: Labels, probabilities: Probabilities) -> float:
    """Return the temperature that maximises the likelihood of the labels (Guo et al., 2017, arXiv:1706.04599).

    Where every prediction is right, as happens with few images, any lower temperature is more likely still: it is not
    lowered then.
    """
    lowest, highest = TEMPERATURES
    if (probabilities.argmax(axis=1) == labels).all():
        lowest = 1.0

    def loss(log_temperature: float) -> float:  # has a single minimum
        return cross_entropy(labels, at_temperature(probabilities, float(np.exp(log_temperature))))

    found = minimize_scalar(loss, bounds=(np.log(lowest), np.log(highest)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def fit_abstention(
    training: FeatureVectors, labels: Labels, validation: tuple[Float[np.ndarray, "m _"], ...]
) -> Abstention:
    """Fit the distances on training features, and their scale and the threshold on validation features.

    Args:
        training: The first feature vector is the input of the last layer.
        labels: Labels of the training images.
        validation: The same features of validation images.
    """
    distances = []
    for index, (features, unseen) in enumerate(zip(training, validation, strict=True)):
        distance = fit_distance(features, labels, normalize=index == 0)
        logs = distance.log_distances(unseen)
        distances.append(
            distance._replace(log_mean=float(logs.mean()), log_deviation=float(max(logs.std(), MIN_DISTANCE)))
        )
    unlimited = Abstention(tuple(distances), threshold=np.inf)
    threshold = np.quantile(unlimited.scores(validation), ACCEPTED, method="higher")
    return unlimited._replace(threshold=float(threshold))


def fit_photo_ood(
    network: Network, validation: Split, photos: PhotoKnowledge, abstention: Abstention, augment: Photo
) -> PhotoOodScore:
    """Fit a score that separates photo-like validation images from photo-like synthetic out-of-distribution images.

    Args:
        network: The network, with its features.
        validation: The validation images, grey.
        photos: Makes the out-of-distribution images.
        abstention: As fitted before.
        augment: Makes images photo-like.
    """
    random = np.random.Generator(np.random.PCG64(SUBSET_SEED))
    images, labels = np.asarray(validation.images)[..., 0], validation.labels
    foreign_images = photos.synthetic_ood(images, labels, len(images), random)

    def inputs(pixels: GrayImages) -> Float[np.ndarray, "n inputs"]:
        return regression_inputs(*network(augment.simulate_photos(pixels)[..., np.newaxis]), abstention)

    # Every call draws new augmentations: the threshold is set on images that the weights were not fitted to.
    own, foreign, unseen = inputs(images), inputs(foreign_images), inputs(images)
    weights, bias = fit_logistic_regression(own, foreign)
    unlimited = PhotoOodScore(weights, bias, threshold=np.inf)
    return unlimited._replace(threshold=float(np.quantile(unlimited.scores(unseen), PHOTOS_ACCEPTED)))


def fit_logistic_regression(
    negative: Float[np.ndarray, "n inputs"], positive: Float[np.ndarray, "m inputs"]
) -> tuple[Float[np.ndarray, " inputs"], float]:
    """Return weights and bias of the log-odds of being positive."""
    samples, labels = np.concatenate([negative, positive]), np.repeat([0.0, 1.0], [len(negative), len(positive)])
    mean, deviation = samples.mean(axis=0), np.maximum(samples.std(axis=0), MIN_DISTANCE)
    x = np.concatenate([(samples - mean) / deviation, np.ones((len(samples), 1))], axis=1)

    def loss(weights: Float[np.ndarray, " d"]) -> tuple[float, Float[np.ndarray, " d"]]:
        log_odds = x @ weights
        value = np.mean(np.logaddexp(0, log_odds) - labels * log_odds) + WEIGHT_DECAY / 2 * weights[:-1] @ weights[:-1]
        gradient = x.T @ (expit(log_odds) - labels) / len(x) + WEIGHT_DECAY * np.append(weights[:-1], 0)
        return value, gradient

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    weights = found[:-1] / deviation
    return weights, float(found[-1] - weights @ mean)


def fit_distance(features: Features, labels: Labels, *, normalize: bool) -> MahalanobisDistance:
    """Fit class means and the covariance that all classes share, in the subspace of largest variance.

    A few images cannot determine a covariance in many directions, so there are at most as many as images more than
    classes.

    Args:
        features: Features of training images.
        labels: Their classes; any of them may be absent.
        normalize: Whether features are scaled to unit length first.
    """
    x = (unit_length(features) if normalize else features).astype(np.float64)
    classes = np.unique(labels)
    mean = x.mean(axis=0).astype(np.float16).astype(np.float64)  # as it is stored
    x = x - mean
    _, vectors = np.linalg.eigh(x.T @ x)
    principal = vectors[:, -max(1, min(MAX_AXES, len(x) - len(classes))) :]
    projected = x @ principal
    class_means = np.stack([projected[labels == number].mean(axis=0) for number in classes])
    within = projected - class_means[np.searchsorted(classes, labels)]
    covariance = within.T @ within / len(within)
    ridge = RIDGE * max(np.trace(covariance) / len(covariance), MIN_DISTANCE)
    variances, rotation = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    scale = np.median(variances) ** 0.5  # a common factor cancels out of the score, and keeps values in float16's range
    whitening = rotation * (scale / np.sqrt(np.maximum(variances, ridge)))
    mean, whitening, class_means = (
        array.astype(np.float16).astype(np.float32) for array in (mean, principal @ whitening, class_means @ whitening)
    )
    return MahalanobisDistance(mean, whitening, class_means, normalize)
