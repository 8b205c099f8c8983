"""How well a score tells strange pictures from ordinary ones, and doubtful answers from safe ones."""

import numpy as np
from scipy.stats import rankdata


def auroc(ordinary: np.ndarray, strange: np.ndarray) -> float:
    """Return the probability that a strange picture scores higher than an ordinary one, ties counted half.

    That is the area under the receiver operating characteristic (Hanley and McNeil, 1982, Radiology 143:29).

    Args:
        ordinary: ``(n,)`` scores.
        strange: ``(m,)`` scores.
    """
    ranks = rankdata(np.concatenate([strange, ordinary]))[: len(strange)]
    wins = ranks.sum() - len(strange) * (len(strange) + 1) / 2
    return float(wins / (len(strange) * len(ordinary)))


def false_positive_rate(ordinary: np.ndarray, strange: np.ndarray, kept: float = 0.95) -> float:
    """Return the share of strange pictures that is accepted where this share of ordinary ones is."""
    threshold = np.quantile(ordinary, kept, method="higher")
    return float(np.mean(strange <= threshold))


def coverage_accuracy(right: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the accuracy of the surest answers, for every share of answers that is given.

    The reverse of risk and coverage (El-Yaniv and Wiener, 2010, JMLR 11:1605).

    Args:
        right: ``(n,)`` bool.
        confidence: ``(n,)``; of equal ones the order is kept.

    Returns:
        Coverage and accuracy, ``(n,)`` each.
    """
    order = np.argsort(-confidence, kind="stable")
    given = np.arange(1, len(right) + 1)
    return given / len(right), np.cumsum(right[order]) / given
