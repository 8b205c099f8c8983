"""How well a score separates out-of-distribution images, and how well confidence separates wrong predictions."""

import numpy as np
from jaxtyping import Real

from fashion.arrays import Flags, Scores

InDistribution = Real[np.ndarray, "n"]
OutOfDistribution = Real[np.ndarray, "m"]


def auroc(in_distribution: InDistribution, out_of_distribution: OutOfDistribution) -> float:
    """Return the probability that an out-of-distribution image scores higher, ties counted half.

    This is the area under the receiver operating characteristic (Hanley and McNeil, 1982, Radiology 143:29).

    Args:
        in_distribution: Scores of images like those of training.
        out_of_distribution: Scores of others.
    """
    count = len(out_of_distribution)
    # Ranks from 1, ties sharing their mean rank. scipy.stats has them too, but takes half a second to import.
    _, position, ties = np.unique(
        np.concatenate([out_of_distribution, in_distribution]), return_inverse=True, return_counts=True
    )
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[position[:count]]
    wins = ranks.sum() - count * (count + 1) / 2
    return float(wins / (count * len(in_distribution)))


def false_positive_rate(
    in_distribution: InDistribution, out_of_distribution: OutOfDistribution, true_positive_rate: float = 0.95
) -> float:
    """Return the share of out-of-distribution images that is accepted at a given true-positive rate.

    Args:
        in_distribution: Scores of images like those of training.
        out_of_distribution: Scores of others.
        true_positive_rate: The share of in-distribution images that the threshold accepts.
    """
    threshold = np.quantile(in_distribution, true_positive_rate, method="higher")
    return float(np.mean(out_of_distribution <= threshold))


def coverage_accuracy(right: Flags, confidence: Scores) -> tuple[Scores, Scores]:
    """Return the accuracy of the most confident predictions at every coverage.

    The complement of the risk-coverage curve (El-Yaniv and Wiener, 2010, JMLR 11:1605).

    Args:
        right: Which predictions are right.
        confidence: Confidence of each; ties keep their order.

    Returns:
        Coverage and accuracy.
    """
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(right) + 1)
    return answered / len(right), np.cumsum(right[order]) / answered
