"""The benchmark of photos, on photos that are made here: garments of the test set, coloured, on a floor."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from fashion.benchmarks import photo_accuracy
from fashion.data.fashion_mnist import CLASSES, fashion_mnist
from fashion.errors import FashionError
from fashion.inference.predictor import Predictor


def on_a_floor(image: np.ndarray, random) -> Image.Image:
    """A garment in a colour of its own on tiles."""
    large = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)).astype(float)
    large = np.pad(large, ((40, 30), (20, 36)))[..., np.newaxis]
    y, x = np.mgrid[: large.shape[0], : large.shape[1]]
    joints = ((y % 70 < 4) | (x % 70 < 4))[..., np.newaxis]
    floor = np.where(joints, 120, 190) + random.normal(0, 8, large.shape)
    cloth = (255 - large) * random.uniform(0.2, 0.9, 3)
    return Image.fromarray(np.clip(np.where(large > 30, cloth, floor), 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fashion_mnist_root):
    """Six boots, six pullovers and three tiled floors with nothing on them."""
    data = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0)
    place, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for kind, number in (("boots", 9), ("jumpers", 2)):
        (place / kind).mkdir()
        for index in np.flatnonzero(data.test_labels == number)[:6]:
            on_a_floor(data.test_images[index], random).save(place / kind / f"{index}.jpg", quality=90)
    (place / "nothing").mkdir()
    for index in range(3):
        on_a_floor(np.zeros((28, 28), np.uint8), random).save(place / "nothing" / f"{index}.png")
    (place / "nothing" / "notes.txt").write_text("not a photo")
    mapping = {"boots": ["Ankle boot"], "jumpers": ["Pullover", "Coat"], "nothing": []}
    (place / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    return place


@pytest.fixture(scope="module")
def found(folder):
    return photo_accuracy.find(folder, photo_accuracy.read_mapping(folder / "mapping.yaml", list(CLASSES)))


def test_photos_are_found_with_what_is_right_for_them_in_two_halves(found):
    assert [each.kind for each in found] == ["boots"] * 6 + ["jumpers"] * 6 + ["nothing"] * 3
    assert {(each.kind, each.right) for each in found} == {("boots", (9,)), ("jumpers", (2, 4)), ("nothing", ())}
    assert {each.half for each in found} == {0, 1}


@pytest.mark.slow
def test_all_ways_are_measured_with_one_model(found, small_artifact):
    predictor, loaded = Predictor.load(small_artifact)
    result = photo_accuracy.measure(found, predictor, loaded.card.classes)
    assert list(result["ways"]) == list(photo_accuracy.WAYS)
    for way in result["ways"].values():
        assert len(way["answers"]) == 15
        rows = [answer["right"] for answer in way["answers"] if answer["right"] is not None]
        assert way["all"]["micro_accuracy"] == pytest.approx(sum(rows) / 12)
        assert way["all"]["macro_accuracy"] == pytest.approx(np.mean(list(way["all"]["by_kind"].values())))
        assert sum(map(sum, (counts.values() for counts in way["confusion"].values()))) == 15
        # The model of the tests accepts everything at its own threshold.
        assert way["all"]["own_threshold"]["abstained"] == way["all"]["own_threshold"]["strange_declined"] == 0
        assert 0 < way["milliseconds"]["prepare"] < 10_000
    ours = result["ways"]["this project"]
    assert all(answer["steps"][0].startswith("cut out of the photo") for answer in ours["answers"][:12])
    assert ours["first half"]["at_abstaining"]["abstained"] == pytest.approx(0.2, abs=0.2)
    text = photo_accuracy.table(result)
    for name in photo_accuracy.WAYS:
        assert name in text
    page = photo_accuracy.sheet(found, result)
    assert page.count("<li ") == 15
    assert page.count("data:image/png;base64,") == 15


def answer(kind: str, right: bool | None, score: float, decision: str) -> dict:
    named = {"named": [3], "right_named": right}
    return {"kind": kind, "right": right, "score": score, "decision": decision, **named}


def test_a_summary_counts_what_is_right_declined_or_both():
    answers = [
        answer("a", True, 1, "accept"), answer("a", True, 5, "abstain"), answer("a", False, 2, "accept"),
        answer("b", False, 6, "abstain"), answer("c", None, 7, "abstain"), answer("c", None, 0, "accept"),
    ]  # fmt: skip
    answers[2] |= {"named": [3, 4], "right_named": True}
    told = photo_accuracy._summary(answers, threshold=1.5)
    assert told["by_kind"] == pytest.approx({"a": 2 / 3, "b": 0})
    assert told["macro_accuracy"] == pytest.approx(1 / 3)
    assert told["micro_accuracy"] == 0.5
    assert told["right_named"] == 0.75
    assert told["names"] == 1.25
    assert told["own_threshold"] == {
        "abstained": 0.5, "accuracy_accepted": 0.5, "strange_declined": 0.5, "right_or_declined": pytest.approx(4 / 6),
    }  # fmt: skip
    assert told["at_abstaining"] == {
        "abstained": 0.75, "accuracy_accepted": 1, "strange_declined": 0.5, "right_or_declined": pytest.approx(5 / 6),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- Dress", "got list, expected lines such as"),
        ("dress: Dress", r"dress: got Dress, expected a list of T-shirt/top, .*, or \[\]"),
        ("dress: [Gown]", r"dress: got \['Gown'\], expected a list of T-shirt/top"),
        ("dress: [", "cannot be read as YAML"),
    ],
)
def test_a_bad_mapping_is_told_in_one_sentence(tmp_path, content, message):
    path = tmp_path / "mapping.yaml"
    path.write_text(content)
    with pytest.raises(FashionError, match=message) as raised:
        photo_accuracy.read_mapping(path, list(CLASSES))
    assert str(raised.value).startswith(str(path))


def test_bad_folders_are_told_in_one_sentence(tmp_path, folder, run_command, small_artifact):
    mapping = {"boots": (9,)}
    told = "does not say which classes are right for jumpers, nothing; name a YAML file that does with --mapping"
    with pytest.raises(FashionError, match=told):
        photo_accuracy.find(folder, mapping)
    with pytest.raises(FashionError, match="holds no photo that has a right answer"):
        photo_accuracy.find(tmp_path, mapping)
    finished = run_command("benchmark.py", "photos", tmp_path / "none", "--artifact", small_artifact)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"error: {tmp_path / 'none'}: there is no such folder")


def test_what_cannot_be_read_is_told_and_left_out(tmp_path, folder, run_command, small_artifact, keras_backend):
    shutil.copytree(folder / "boots", tmp_path / "photos" / "dress")
    (tmp_path / "photos" / "dress" / "broken.jpg").write_text("text")
    (tmp_path / "photos" / "dress" / "folder.jpg").mkdir()
    (tmp_path / "photos" / "hat").mkdir()
    (tmp_path / "photos" / "hat" / "gone.jpg").symlink_to("nowhere")
    arguments = ("--artifact", small_artifact, "--backend", keras_backend, "--folder", tmp_path / "told")
    finished = run_command("benchmark.py", "photos", tmp_path / "photos", *arguments)
    assert finished.returncode == 2
    broken = tmp_path / "photos" / "dress" / "broken.jpg"
    assert f"error: {broken}: is not an image, expected PNG, JPEG or WebP; it is left out\n" in finished.stderr
    result = json.loads((tmp_path / "told" / "photos.json").read_text())
    assert result["ways"]["this project"]["all"]["photos"] == 6
    assert [message.rpartition("/")[2] for message in result["unreadable"]] == [
        "broken.jpg: is not an image, expected PNG, JPEG or WebP",
        "folder.jpg: cannot be read (Is a directory)",
        "gone.jpg: cannot be read (No such file or directory)",
    ]
    bad = [photo_accuracy.Photo(tmp_path / "none.jpg", "hat", (), 0), photo_accuracy.Photo(broken, "dress", (3,), 0)]
    with pytest.raises(FashionError, match=r"no photo that has a right answer can be read; .*broken.jpg: is not"):
        photo_accuracy.readable(bad)


def test_the_mapping_of_the_project_names_classes():
    mapping = photo_accuracy.read_mapping(photo_accuracy.MAPPING, list(CLASSES))
    assert len(mapping) == 10
    assert mapping["shoes"] == (5, 7, 9)
    assert mapping["hat"] == ()
