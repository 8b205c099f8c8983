import json

import numpy as np
import pytest

from fashion.uncertainty.abstention import Abstention, Part
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty

# Two axes of three features; class means at (1, 0) and (0, 2) on them.
PART = Part(
    mean=np.array([1, 1, 1], np.float32),
    axes=np.array([[1, 0], [0, 2], [0, 0]], np.float32),
    centres=np.array([[1, 0], [0, 2]], np.float32),
    direction=False,
    location=float(np.log(4)),
    spread=0.5,
)
FEATURES = np.array([[4, 1, 9], [1, 3, 1]], np.float32)  # (3, 0) and (0, 4) on the axes: 2 away from each mean


def test_the_nearest_class_counts():
    assert PART.log_distances(FEATURES) == pytest.approx([0, 0], abs=1e-6)
    assert PART.log_distances(np.array([[6, 1, 0]], np.float32)) == pytest.approx([np.log(16 / 4) / 0.5])


def test_a_direction_does_not_know_lengths():
    part = PART._replace(direction=True)
    assert part.log_distances(FEATURES) == pytest.approx(part.log_distances(7 * FEATURES), abs=1e-4)
    assert np.isfinite(part.log_distances(np.zeros((1, 3), np.float32))).all()


def test_a_score_is_the_mean_of_its_parts():
    pair = Abstention((PART, PART._replace(location=0.0, spread=1.0)), 1.0)
    assert pair.scores((FEATURES, FEATURES)) == pytest.approx([np.log(4) / 2] * 2, abs=1e-6)


def test_a_card_gives_back_what_it_was_given():
    kept = Abstention((PART, PART._replace(direction=True)), 1.25)
    read = Abstention.from_card(json.loads(json.dumps(kept.to_card())))
    assert read.threshold == 1.25
    assert np.array_equal(read.scores((FEATURES, FEATURES)), kept.scores((FEATURES, FEATURES)))


def test_what_is_too_unlike_is_abstained_from():
    trust = PosthocUncertainty(1.0, Abstention((PART,), 0.5))
    outputs = Outputs(np.full((2, 2), 0.5, np.float32), (np.array([[4, 1, 9], [60, 1, 0]], np.float32),))
    answer = trust.prediction(outputs)
    assert [trust.judge(answer, row, photo=False).decision for row in range(2)] == ["accept", "abstain"]
    unknown = answer._replace(scores=np.full(2, np.nan))
    assert trust.judge(unknown, 0, photo=False).decision == "abstain"


def test_an_old_card_accepts_everything():
    trust = PosthocUncertainty.from_card({"sha256": "x"})
    answer = trust.prediction(Outputs(np.array([[0.3, 0.7]], np.float32)))
    assert answer.probabilities.tolist() == np.array([[0.3, 0.7]], np.float32).tolist()
    assert np.isnan(answer.scores).all()
    assert trust.threshold is None
    assert trust.judge(answer, 0, photo=False).decision == "accept"
