"""A trained model with its calibration and abstention as one function of TensorFlow: what every format is made from.

The functions repeat ``fashion.uncertainty`` in the operations of TensorFlow, in float32.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fashion.inference.features import feature_tensors
from fashion.inference.onnx_engine import INPUT, PHOTO_PROBABILITIES, PHOTO_SCORE, PROBABILITIES, SCORE
from fashion.uncertainty.abstention import MIN_DISTANCE, Abstention, MahalanobisDistance
from fashion.uncertainty.photo_ood import MIN_PROBABILITY, PhotoOodScore
from fashion.uncertainty.posthoc import PosthocUncertainty

Tensor = Any  # TensorFlow has no types to check against
POSTHOC = "posthoc"  # the scope of what follows the network, which stays in float32 when that is quantised
BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


class WholeModel(tf.Module):
    """The function from images to calibrated probabilities and, if the model has them, its scores.

    Args:
        model: ``(n, h, w, c)`` float32 in [0, 1] to ``(n, classes)`` probabilities.
        uncertainty: Its calibration and abstention.

    Attributes:
        compute: A ``tf.function`` of one input, ``images``. Its outputs are ``probabilities`` and, for a model that
            abstains, ``score``; for one that treats photos differently also ``photo_probabilities`` and
            ``photo_score``.
    """

    def __init__(self, model: keras.Model, uncertainty: PosthocUncertainty) -> None:
        super().__init__()
        tensors = feature_tensors(model) if uncertainty.abstention else []
        network = keras.Model(model.input, [model.output, *tensors])
        self.weights = [variable.value for variable in network.variables]  # TensorFlow saves what it finds here

        @tf.function(input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, name=INPUT)])
        def compute(images: Tensor) -> dict[str, Tensor]:
            probabilities, *features = network(images, training=False)
            with tf.name_scope(POSTHOC):
                return posthoc(uncertainty, probabilities, features)

        self.compute = compute


def posthoc(uncertainty: PosthocUncertainty, probabilities: Tensor, features: list[Tensor]) -> dict[str, Tensor]:
    """Return what ``PosthocUncertainty.prediction`` does; what photos have in common with other images is left out."""
    found = {PROBABILITIES: _at_temperature(probabilities, uncertainty.temperature)}
    if uncertainty.photo_priors is not None:
        weighted = probabilities * uncertainty.photo_priors
        weighted /= tf.reduce_sum(weighted, axis=1, keepdims=True)
        found[PHOTO_PROBABILITIES] = _at_temperature(weighted, uncertainty.temperature)
    if uncertainty.abstention:
        logs = _log_distances(uncertainty.abstention, features)
        found[SCORE] = tf.reduce_mean(logs, axis=1)
        if uncertainty.photo_ood:
            found[PHOTO_SCORE] = _photo_scores(uncertainty.photo_ood, probabilities, features, logs)
    return found


def _at_temperature(probabilities: Tensor, temperature: float) -> Tensor:
    if temperature == 1:
        return probabilities
    top = tf.argmax(probabilities, axis=1, output_type=tf.int32)[:, tf.newaxis]
    powers = tf.pow(probabilities / tf.reduce_max(probabilities, axis=1, keepdims=True), 1 / temperature)
    calibrated = powers / tf.reduce_sum(powers, axis=1, keepdims=True)
    largest = tf.reduce_max(calibrated, axis=1, keepdims=True)
    # Where rounding made two classes equal, the first of the most probable ones stays the most probable.
    tied = (calibrated == largest) & (tf.range(probabilities.shape[1])[tf.newaxis] != top)
    return tf.where(tied, largest * BELOW_ONE, calibrated)


def _log_distances(abstention: Abstention, features: list[Tensor]) -> Tensor:
    logs = [_log_distance(distance, each) for distance, each in zip(abstention.distances, features, strict=True)]
    return tf.stack(logs, axis=1)


def _log_distance(distance: MahalanobisDistance, features: Tensor) -> Tensor:
    features = _unit_length(features) if distance.normalize else features
    whitened = tf.matmul(features - distance.mean, distance.whitening)
    squares = tf.reduce_sum(whitened * whitened, axis=1, keepdims=True)
    means = distance.class_means
    distances = squares - 2 * tf.matmul(whitened, means.T) + np.square(means).sum(axis=1)
    nearest = tf.maximum(tf.reduce_min(distances, axis=1), MIN_DISTANCE)
    return (tf.math.log(nearest) - distance.log_mean) / distance.log_deviation


def _photo_scores(photo_ood: PhotoOodScore, probabilities: Tensor, features: list[Tensor], logs: Tensor) -> Tensor:
    log_probabilities = tf.math.log(probabilities + MIN_PROBABILITY)
    entropy = -tf.reduce_sum(probabilities * log_probabilities, axis=1, keepdims=True)
    inputs = tf.concat([log_probabilities, entropy, logs, _unit_length(features[0])], axis=1)
    return tf.reduce_sum(inputs * photo_ood.weights.astype(np.float32), axis=1) + photo_ood.bias


def _unit_length(features: Tensor) -> Tensor:
    return features / tf.maximum(tf.sqrt(tf.reduce_sum(features * features, axis=1, keepdims=True)), 1e-9)
