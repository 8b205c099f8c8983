"""Cards of earlier releases, which had one data set: the entries that they lack."""

from typing import Any

from fashion.data.fashion_mnist import PAGE, PIXELS
from fashion.preprocessing.fashion_mnist.spec import INPUT


def upgraded(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card's content with the current entries; a current card is returned unchanged.

    Args:
        card: The decoded JSON. In earlier cards ``input`` is a sentence, and ``data`` maps file names to digests.
    """
    if not isinstance(card.get("input"), str | None):
        return card
    return card | {
        "input": INPUT.model_dump(),
        "data": {
            "name": "fashion_mnist",
            "title": "Fashion-MNIST",
            "digests": card.get("data") or {},
            "pixel_mean": PIXELS.mean,
            "pixel_deviation": PIXELS.deviation,
        },
        "page": PAGE._asdict(),
    }
