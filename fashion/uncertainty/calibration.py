"""Confidence that is true: the softmax at a temperature that was fitted on validation images."""

import numpy as np


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the softmax of the same logits divided by a temperature (Guo et al., 2017, arXiv:1706.04599).

    Logits are the logarithms of the probabilities, up to a constant for each row that the softmax does not see; so
    none but the probabilities are needed. The most probable class stays the first of the most probable ones, also
    where rounding would make two classes equal.

    Args:
        probabilities: ``(n, classes)`` float32.
        temperature: Above 1 is less confident, below 1 is more, 1 changes nothing.

    Returns:
        ``(n, classes)`` float32.
    """
    if temperature == 1:
        return probabilities
    top = probabilities.argmax(axis=1)[:, np.newaxis]
    # Of the largest, so that one term of each sum is 1 and small ones vanish, instead of all of them.
    powers = (probabilities / np.take_along_axis(probabilities, top, axis=1).astype(np.float64)) ** (1 / temperature)
    calibrated = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    largest = np.take_along_axis(calibrated, top, axis=1)
    tied = calibrated == largest
    np.put_along_axis(tied, top, False, axis=1)
    return np.where(tied, np.nextafter(largest, np.float32(0)), calibrated)
