"""What a card may say, and what is refused in one line; cards of earlier releases."""

import base64
import json

import numpy as np
import pytest
from serving import CLASSES, other_card, png

from fashion.card import Card, read_card
from fashion.data.fashion_mnist import PAGE
from fashion.errors import InputError
from fashion.paths import PRETRAINED
from fashion.preprocessing.fashion_mnist.spec import INPUT
from fashion.preprocessing.input_spec import InputSpec

SPEC = InputSpec(height=32, width=32, channels=3, preprocessing="resize")
CARD = other_card(SPEC, ["cat", "dog"]).to_json() | {"sha256": "0" * 64}
GIF = base64.b64encode(png(np.zeros((4, 4), np.uint8), "GIF")).decode()
CUT = base64.b64encode(png(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8))[:-60]).decode()


@pytest.fixture
def written(tmp_path):
    def write(**entries):
        path = tmp_path / "card.json"
        path.write_text(json.dumps(CARD | entries))
        return path

    return write


def example(**entries):
    return {"examples": [{**CARD["examples"][0], **entries}]}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (example(file=GIF), r"examples: the file of 'cat' is a GIF image; send PNG"),
        (example(file=base64.b64encode(b"text").decode()), "examples: the file of 'cat' is not an image"),
        (example(file=CUT), "examples: the file of 'cat' is damaged"),
        (example(file="no base64!"), "examples: the file of 'cat' is not base64"),
        (example(file=""), "examples: the file of 'cat' is not an image"),
        (example(label="<b>bird</b>"), "examples: got the class '<b>bird</b>', expected one of the model's"),
        ({"classes": ["cat", "cat"]}, "classes: got 1 different names for 2 classes"),
        ({"classes": []}, "classes: got 0 different names for 0 classes"),
        ({"classes": ["cat", "a\nb"]}, r"classes: got 'a\\nb', expected text without control characters"),
        ({"classes": ["cat", "\ud800"]}, r"classes: got '\\ud800', expected text without"),
        ({"classes": ["cat", " "]}, "classes: got ' ', expected text without"),
        ({"data": CARD["data"] | {"name": "../x"}}, r"data.name: String should match pattern"),
        ({"input": CARD["input"] | {"channels": 4}}, "input.channels: Input should be 1 or 3"),
        ({"photo_odds": {"cat": -1.0}}, "photo_odds.cat: Input should be greater than 0"),
        ({"page": {"question": 1}}, r"page.question: Input should be a valid string"),
    ],
)
def test_what_nobody_can_serve_is_refused_in_one_line(written, entries, message):
    with pytest.raises(InputError, match=message) as refused:
        read_card(written(**entries))
    assert "\n" not in str(refused.value)


def test_a_card_of_endless_depth_is_refused_in_one_line(tmp_path):
    (tmp_path / "card.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_card(tmp_path / "card.json")


def test_odd_names_are_accepted(written):
    classes = ["<script>", "x" * 300, "\u05d7\u05ea\u05d5\u05dc", "\U0001f468\u200d\U0001f469", '"', "a  b"]
    assert read_card(written(classes=classes, examples=[])).classes == classes


@pytest.mark.parametrize("config", [{}, {"model": None}, {"model": []}, {"model": {"_target_": 3}}])
def test_a_configuration_without_a_model_has_no_architecture(written, config):
    assert read_card(written(config=config)).architecture in {"", "3"}


def test_the_pretrained_card_says_what_the_page_shows():
    card = read_card(PRETRAINED / "fashion_mnist_model.json")
    assert (card.version, card.architecture, card.input) == ("fc0108230aca", "resnet", INPUT)
    assert card.data.counts == {"train": 54_000, "validation": 6_000, "test": 10_000}
    assert [each.label for each in card.examples] == [
        "T-shirt/top", "Pullover", "Coat", "Sandal", "Sneaker", "Ankle boot",
    ]  # fmt: skip


def test_a_card_of_before_loads(tmp_path):
    """As release 1 wrote it: the input is a sentence, the data are digests, and there is no page."""
    today = json.loads((PRETRAINED / "fashion_mnist_model.json").read_text())
    former = {key: value for key, value in today.items() if key not in {"page", "examples"}}
    former |= {"input": "(n, 28, 28, 1) float32 in [0, 1]", "data": today["data"]["digests"]}
    path = tmp_path / "card.json"
    for content in (former, {key: value for key, value in former.items() if key not in {"input", "data"}}):
        path.write_text(json.dumps(content))
        card = read_card(path)
        assert (card.classes, card.input, card.data.name) == (CLASSES, INPUT, "fashion_mnist")
        assert tuple(card.page.limitations) == PAGE.limitations
        assert card.examples == []
        assert Card.model_validate(card.to_json()) == card
