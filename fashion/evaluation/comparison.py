"""Is one model better than another on the same images, or is the difference chance?"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, chi2

from fashion.arrays import Flags, Labels, Probabilities, Scores
from fashion.evaluation.records import ComparisonRow, McNemarTest
from fashion.metrics import Z_95, Interval, has_unequal_classes, log_losses, squared_distances

MAX_EXACT = 1_000  # discordant images; for more, the exact and the approximate test agree to three digits


RECALL_OF = "recall of "  # followed by a class, the name of a row


def mcnemar(first_right: Flags, second_right: Flags) -> McNemarTest:
    """Test which predictions of two models are right on the same images."""
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(second_right & ~first_right))
    discordant = only_first + only_second
    if discordant == 0:
        return McNemarTest(0, 0, 1.0, True)
    if discordant <= MAX_EXACT:
        return McNemarTest(only_first, only_second, float(binomtest(only_first, discordant).pvalue), True)
    statistic = max(abs(only_first - only_second) - 1, 0) ** 2 / discordant
    return McNemarTest(only_first, only_second, float(chi2.sf(statistic, 1)), False)


def paired_interval(differences: Scores) -> Interval:
    """Return the 95 % interval of the mean of paired differences, by the normal approximation."""
    mean = float(differences.mean())
    reach = Z_95 * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return Interval(mean - reach, mean + reach)


def compare(
    labels: Labels, first: Probabilities, second: Probabilities, classes: Sequence[str]
) -> tuple[McNemarTest, list[ComparisonRow]]:
    """Compare two models' calibrated probabilities for the same images.

    Args:
        labels: The true classes.
        first: One model's.
        second: The other's.
        classes: Names of the classes; one with fewer than two images has no row.
    """
    both = (first, second)
    right = [rows.argmax(axis=1) == labels for rows in both]
    everything = np.ones(len(labels), bool)
    images = np.bincount(labels, minlength=len(classes))
    # Each image weighs as much as its class needs for all classes to count the same.
    weights = len(labels) / (np.count_nonzero(images) * images[labels])
    macro = [_row("macro accuracy", [weights * each for each in right], everything)]
    rows = [
        _row("accuracy", right, everything),
        *(macro if has_unequal_classes(labels) else []),
        _row("loss", [log_losses(labels, rows) for rows in both], everything),
        _row("Brier score", [squared_distances(labels, rows) for rows in both], everything),
        *(
            _row(f"{RECALL_OF}{name}", right, labels == number)
            for number, name in enumerate(classes)
            if images[number] > 1
        ),
    ]
    return mcnemar(*right), rows


def _row(name: str, values: Sequence[Flags | Scores], chosen: Flags) -> ComparisonRow:
    first, second = (each[chosen].astype(np.float64) for each in values)
    low, high = paired_interval(first - second)
    return ComparisonRow(name, float(first.mean()), float(second.mean()), float((first - second).mean()), low, high)
