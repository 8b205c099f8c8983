"""Whether one model is better than another on the same images, or just luckier."""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest, chi2

from fashion.metrics import Interval

Z_95 = 1.959964
MOST_EXACT = 1_000  # discordant images; the exact test of more agrees with the approximate one to three digits


class McNemar(NamedTuple):
    """McNemar's test (1947, Psychometrika 12:153) that two models err equally often.

    Attributes:
        only_first: Images that the first model alone gets right.
        only_second: Images that the second alone gets right.
        p_value: How probable so large a difference is between models that err equally often.
        exact: Whether by the binomial distribution; else by chi-squared with Edwards's correction.
    """

    only_first: int
    only_second: int
    p_value: float
    exact: bool


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> McNemar:
    """Test two models' ``(n,)`` bool results on the same images."""
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(second_right & ~first_right))
    discordant = only_first + only_second
    if discordant == 0:
        return McNemar(0, 0, 1.0, True)
    if discordant <= MOST_EXACT:
        return McNemar(only_first, only_second, float(binomtest(only_first, discordant).pvalue), True)
    statistic = max(abs(only_first - only_second) - 1, 0) ** 2 / discordant
    return McNemar(only_first, only_second, float(chi2.sf(statistic, 1)), False)


def paired_interval(differences: np.ndarray) -> Interval:
    """Return the 95 % interval of the mean of ``(n,)`` differences on the same images, by the normal distribution."""
    mean = float(differences.mean())
    reach = Z_95 * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return Interval(mean - reach, mean + reach)


def compare(labels: np.ndarray, first: np.ndarray, second: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """Compare two models' ``(n, classes)`` calibrated probabilities of the same images.

    Returns:
        McNemar's test, and rows of both values, the difference (first less second) and its interval.
    """
    right = [rows.argmax(axis=1) == labels for rows in (first, second)]
    truth = np.eye(first.shape[1])[labels]
    chosen = [np.clip(rows[np.arange(len(labels)), labels].astype(np.float64), 1e-7, 1) for rows in (first, second)]
    everything = np.ones(len(labels), bool)
    rows = [
        _row("accuracy", right, everything),
        _row("loss", [-np.log(each) for each in chosen], everything),
        _row("Brier score", [np.square(each - truth).sum(axis=1) for each in (first, second)], everything),
        *(_row(f"recall of {name}", right, labels == number) for number, name in enumerate(classes)),
    ]
    return {"mcnemar": mcnemar(*right)._asdict(), "rows": rows}


def _row(name: str, values: list[np.ndarray], of: np.ndarray) -> dict[str, Any]:
    first, second = (each[of].astype(np.float64) for each in values)
    low, high = paired_interval(first - second)
    return {
        "name": name,
        "first": float(first.mean()),
        "second": float(second.mean()),
        "difference": float((first - second).mean()),
        "low": low,
        "high": high,
    }
