import numpy as np
import pytest
from PIL import Image

from fashion.data.fashion_mnist.synthetic_ood import development_sets
from fashion.errors import FashionError
from fashion.preprocessing.fashion_mnist.spec import INPUT
from fashion.preprocessing.input_spec import InputSpec
from fashion.uncertainty import ood_datasets


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "hat").mkdir()
    (folder / "empty").mkdir()
    (folder / "hat" / "notes.txt").write_text("not an image")
    for name in ("a.jpg", "B.PNG"):
        Image.effect_noise((80, 60), 90).save(folder / "hat" / name)
    photos, unreadable = ood_datasets.photo_folders(folder, INPUT)
    assert not unreadable
    found = ood_datasets.reported_sets(INPUT) | photos
    assert {name for name, each in found.items() if each.photos.any()} == {"sample photos", "photos: hat"}
    return {name: each.images for name, each in found.items()}


@pytest.mark.slow
def test_every_set_has_the_shape_of_the_data_set(sets):
    assert list(sets) == [
        "blank", "uniform noise", "Gaussian noise", "text", "handwritten digits", "sample photos", "photos: hat",
    ]  # fmt: skip
    for images in sets.values():
        assert (images.shape[1:], images.dtype) == ((28, 28, 1), np.uint8)
    sizes = {name: len(images) for name, images in sets.items()}
    assert (sizes["blank"], sizes["handwritten digits"], sizes["photos: hat"]) == (256, 1797, 2)
    assert sizes["sample photos"] >= 100


@pytest.mark.slow
def test_sets_are_what_their_names_say(sets):
    assert np.ptp(sets["blank"], axis=(1, 2)).max() == 0
    assert sets["uniform noise"].mean() == pytest.approx(127.5, abs=0.5)
    assert sets["Gaussian noise"].std() / 255 == pytest.approx(0.25, abs=0.02)
    for name in ("text", "handwritten digits"):  # light strokes on black
        assert np.median(sets[name]) < 60
        assert (sets[name].max(axis=(1, 2)) > 150).all()


def test_sets_are_reproducible():
    random = [np.random.default_rng(3) for _ in range(2)]
    assert np.array_equal(*(ood_datasets.text(3, INPUT, each) for each in random))


@pytest.mark.slow
def test_the_score_was_chosen_on_other_kinds_than_are_reported(sets):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    made = development_sets(images, np.random.default_rng(1))
    assert not set(made) & set(sets)
    assert {each.shape for each in made.values()} == {(5, 28, 28)}
    shuffled = made["shuffled tiles"]
    assert np.array_equal(np.sort(shuffled.reshape(5, -1)), np.sort(images.reshape(5, -1)))


def test_a_folder_without_images_is_one_line(tmp_path):
    with pytest.raises(FashionError, match="photos: there is no folder"):
        ood_datasets.photo_folders(tmp_path / "none", INPUT)
    with pytest.raises(FashionError, match=r"photos: no folder in .* contains an image"):
        ood_datasets.photo_folders(tmp_path, INPUT)
    (tmp_path / "hat").mkdir()
    (tmp_path / "hat" / "x.png").write_bytes(b"text")
    with pytest.raises(FashionError, match=r"x\.png: is not an image"):
        ood_datasets.photo_folders(tmp_path, INPUT)


@pytest.mark.slow
def test_sets_for_a_colour_model_have_its_shape_and_a_bounded_size(monkeypatch, tmp_path):
    spec = InputSpec(height=40, width=56, channels=3, preprocessing="resize")
    monkeypatch.setattr(ood_datasets, "MAX_SET_BYTES", 100 * 40 * 56 * 3)
    made = ood_datasets.reported_sets(spec)
    for images, photos in made.values():
        assert (images.shape[1:], images.dtype) == ((40, 56, 3), np.uint8)
        assert not photos.any()
    assert {name: len(images) for name, (images, _) in made.items() if name != "sample photos"} == dict.fromkeys(
        ("blank", "uniform noise", "Gaussian noise", "text", "handwritten digits"), 100
    )
    assert np.median(made["text"].images) > 200  # dark on white paper, as it is
    assert np.ptp(made["sample photos"].images, axis=3).max() > 100  # in colour
    (tmp_path / "red").mkdir()
    Image.new("RGB", (300, 200), (200, 10, 20)).save(tmp_path / "red" / "a.png")
    red = ood_datasets.photo_folders(tmp_path, spec)[0]["photos: red"].images
    assert np.array_equal(red, np.broadcast_to(np.array([200, 10, 20], np.uint8), (1, 40, 56, 3)))
