"""A linear probe: the last layer of a network, fitted to the features of the rest, which stays as it is.

Fine-tuning that starts from it distorts good features less than from a random last layer (Kumar et al.,
2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", arXiv:2202.10054).
"""

import logging
import math
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from jaxtyping import Float32, Int

from fashion.arrays import Labels
from fashion.config.nodes import ResolvedConfig
from fashion.data.cache_space import GIGABYTE
from fashion.data.dataset import Dataset
from fashion.data.split import seeded_generator
from fashion.errors import InputError
from fashion.inference.features import feature_tensors
from fashion.models.blocks import last_dense
from fashion.training.frozen_features import Cache, Features, FrozenFeatures
from fashion.training.network import TrainingNetwork
from fashion.uncertainty.abstention import FeatureVectors

log = logging.getLogger(__name__)

# Inverse strengths of the L2 penalty, as scikit-learn has them, on standardised features.
STRENGTHS = tuple(float(10**exponent) for exponent in np.arange(-4.0, 0.51, 0.5))
WITHOUT_CHOICE = 1e-2  # where a class has a single image, which leaves nothing to validate on
FOLDS = 5
MAX_ITERATIONS, TOLERANCE = 200, 1e-3
Rows = Int[np.ndarray, " m"]


class Probe(NamedTuple):
    """A fitted last layer.

    Attributes:
        kernel: ``(d, classes)`` float32.
        bias: ``(classes,)`` float32.
        strength: The chosen inverse strength of the L2 penalty.
        loss: Mean cross-entropy in the cross-validation; None where there was none.
    """

    kernel: Float32[np.ndarray, "d classes"]
    bias: Float32[np.ndarray, " classes"]
    strength: float
    loss: float | None


def feature_cache(data: ResolvedConfig) -> Cache | None:
    """Return where features are cached: beside the decoded images; None if the configured data has no such cache."""
    if "cache" not in data:
        return None
    return Cache(Path(data["cache"]).expanduser().absolute(), int(data["cache_gb"] * GIGABYTE))


def fit_linear_probe(
    network: TrainingNetwork, data: Dataset, precision: str, seed: int, cache: Cache | None
) -> FeatureVectors:
    """Fit the last layer of a network by logistic regression on the features of the training images.

    If the model averages over mirror images (``flip_average``), so are the features.

    Args:
        network: Its last dense layer gets new weights; nothing else changes.
        data: Its training split alone is read.
        precision: Of the network, by Keras's name.
        seed: Divides the images for the choice of the regularisation.
        cache: Where features are kept.

    Returns:
        What abstention is fitted to, for each training image; see ``fashion.inference.features``.

    Raises:
        InputError: When the model does not end in a dense layer.
        WriteError: When the features cannot be kept.
    """
    found = last_dense(network.core)
    if not found:
        raise InputError("trainer.linear_probe: got a model that does not end in a dense layer; set it to false")
    last, penultimate = found
    tensors = feature_tensors(network.core)
    outputs = keras.layers.Concatenate(dtype="float32", name="features")(tensors) if len(tensors) > 1 else penultimate
    frozen = FrozenFeatures(keras.Model(network.core.input, outputs, name="features"), precision, cache)
    features = frozen(data.train.images)
    inputs, spatial = np.split(features, [penultimate.shape[-1]], axis=1)
    if network.flip_average:
        mirrored = frozen(data.train.images, mirrored=True)[:, : inputs.shape[1]]
        inputs = (inputs + mirrored) / 2
    begin = time.monotonic()
    probe = fit(inputs, data.train.labels, seed, balanced=network.class_weights is not None)
    last.set_weights([probe.kernel, probe.bias])
    chosen = "" if probe.loss is None else f", cross-validated loss {probe.loss:.4f}"
    log.info("linear probe fitted in %.1f s: C %.2g%s", time.monotonic() - begin, probe.strength, chosen)
    return (inputs, spatial)[: len(tensors)]


def fit(features: Features, labels: Labels, seed: int, *, balanced: bool) -> Probe:
    """Fit a softmax layer to features, its L2 penalty chosen by cross-validation.

    Args:
        features: ``(n, d)`` float32.
        labels: ``(n,)`` int64, class numbers, each of which occurs.
        seed: Divides the images into folds.
        balanced: Whether all classes weigh the same, however many images they have.
    """
    # Of the extra `transfer`; fashion.training.training_settings has checked that it is installed.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1).astype(np.float32)
    rows = (features - mean) / deviation
    options = {"class_weight": "balanced" if balanced else None, "max_iter": MAX_ITERATIONS, "tol": TOLERANCE}
    # The products are small: on two cores that other work shares, two threads took 24 times as long as one.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is far from it has no good loss either
        strength, loss = _choose_strength(rows, labels, _splits(labels, seed), options)
        model = LogisticRegression(C=strength, **options).fit(rows, labels)
    weights, intercept = model.coef_, model.intercept_
    if len(weights) == 1:  # of two classes scikit-learn gives the second's logit alone
        weights, intercept = np.concatenate([0 * weights, weights]), np.array([0, intercept[0]])
    kernel = (weights / deviation).T
    return Probe(kernel.astype(np.float32), (intercept - mean @ kernel).astype(np.float32), strength, loss)


def _choose_strength(
    rows: Features, labels: Labels, splits: Sequence[tuple[Rows, Rows]], options: Mapping[str, Any]
) -> tuple[float, float | None]:
    """Return the inverse strength of the lowest cross-validated loss, and that loss.

    The penalty is weakened, each time from the weights before, until the loss rises: weaker ones take longest.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    if not splits:
        return WITHOUT_CHOICE, None
    models = [LogisticRegression(warm_start=True, **options) for _ in splits]
    best, lowest = STRENGTHS[0], math.inf
    for strength in STRENGTHS:
        losses = []
        for model, (train, validation) in zip(models, splits, strict=True):
            model.set_params(C=strength).fit(rows[train], labels[train])
            probabilities = model.predict_proba(rows[validation])
            losses.append(log_loss(labels[validation], probabilities, labels=model.classes_))
        loss = statistics.fmean(losses)
        if loss >= lowest:
            break
        best, lowest = strength, loss
    return best, lowest


def _splits(labels: Labels, seed: int) -> list[tuple[Rows, Rows]]:
    """Return the rows of each fold's two parts; empty where there is no fold."""
    from sklearn.model_selection import StratifiedKFold

    folds = min(FOLDS, int(np.bincount(labels).min()))
    if folds < 2:
        return []
    state = int(seeded_generator(seed).integers(2**32))
    return list(StratifiedKFold(folds, shuffle=True, random_state=state).split(labels, labels))
