import numpy as np

from fashion.data.fashion_mnist import CLASSES, fashion_mnist
from fashion.data.fashion_mnist.synthetic_ood import synthetic_ood


def test_they_are_new_images_of_shorts_skirts_domes_and_nonsense(fashion_mnist_root):
    data = fashion_mnist(str(fashion_mnist_root), False, 3000, 0.5, seed=0)
    images, labels = data.validation.images[..., 0], data.validation.labels
    made = synthetic_ood(images, labels, 200, np.random.default_rng(0))
    assert (made.shape, made.dtype) == ((200, 28, 28), np.uint8)
    assert len({image.tobytes() for image in made}) > 190
    known = {image.tobytes() for image in images}
    assert not any(image.tobytes() in known for image in made)
    aspects = [_aspect(image) for image in made[:40]]  # shorts
    whole = [_aspect(image) for image in images[labels == CLASSES.index("Trouser")][:40]]
    assert np.median(aspects) < 0.75 * np.median(whole)
    again = synthetic_ood(images, labels, 200, np.random.default_rng(0))
    assert np.array_equal(made, again)


def _aspect(image: np.ndarray) -> float:
    visible = image > 5
    return visible.any(axis=1).sum() / visible.any(axis=0).sum()
