import numpy as np
import pytest

from fashion.inference.tta import predict_with_tta
from fashion.preprocessing.model_input import ModelInput
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty, Prediction

MASK = np.ones((4, 4), bool)


def left_half(images: np.ndarray) -> Prediction:
    """The share of light in the left half, as probability, score and the same for photos."""
    share = images[:, :, :14].sum(axis=(1, 2, 3)) / images.sum(axis=(1, 2, 3))
    rows = np.stack([share, 1 - share], axis=1)
    return Prediction(rows, share, rows, share)


def test_a_photo_gets_the_mean_over_itself_and_its_mirror_image_and_others_are_predicted_once():
    pixels = np.zeros((28, 28, 1), np.uint8)
    pixels[:, :7] = 200
    sizes = []

    def predict(images: np.ndarray) -> Prediction:
        sizes.append(len(images))
        return left_half(images)

    plain, photo = ModelInput(pixels, ()), ModelInput(pixels, (), mask=MASK)
    prediction = predict_with_tta([plain, photo, plain], predict)
    assert sizes == [1 + 2 + 1]
    assert prediction.probabilities.tolist() == [[1, 0], [0.5, 0.5], [1, 0]]
    assert prediction.scores.tolist() == [1, 0.5, 1]


def test_photos_get_the_probabilities_for_photos_and_others_do_not():
    uncertainty = PosthocUncertainty(photo_priors=np.array([0.5, 2.0], np.float32))

    def predict(images: np.ndarray) -> Prediction:
        return uncertainty.prediction(Outputs(np.repeat([[np.float32(0.6), np.float32(0.4)]], len(images), 0)))

    pixels = np.zeros((28, 28, 1), np.uint8)
    rows = predict_with_tta([ModelInput(pixels, ()), ModelInput(pixels, (), mask=MASK)], predict)
    assert rows.probabilities == pytest.approx(np.array([[0.6, 0.4], [0.3 / 1.1, 0.8 / 1.1]]))
