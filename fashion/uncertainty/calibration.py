"""Calibrated confidence: the softmax at a temperature that was fitted on validation images."""

import numpy as np

from fashion.arrays import Probabilities


def at_temperature(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Return the softmax of the same logits divided by a temperature (Guo et al., 2017, arXiv:1706.04599).

    The probabilities are all it needs: logits are their logarithms, up to a constant in each row that the softmax
    ignores. The most probable class stays the first of the most probable ones, even where rounding would make two
    classes equal.

    Args:
        probabilities: Uncalibrated.
        temperature: Above 1 lowers the confidence, below 1 raises it, 1 changes nothing.
    """
    if temperature == 1:
        return probabilities
    top = probabilities.argmax(axis=1)[:, np.newaxis]
    # Relative to the largest: one term of each sum is 1, and only small ones can underflow, never all of them.
    powers = (probabilities / np.take_along_axis(probabilities, top, axis=1).astype(np.float64)) ** (1 / temperature)
    calibrated = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    largest = np.take_along_axis(calibrated, top, axis=1)
    tied = calibrated == largest
    np.put_along_axis(tied, top, False, axis=1)
    return np.where(tied, np.nextafter(largest, np.float32(0)), calibrated)
