"""The benchmark of photos, on photos that are made here: garments of the test set, coloured, on a floor."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from fashion.benchmarks import photo_accuracy
from fashion.benchmarks.labelled_photos import MAPPING, LabelledPhoto, find_photos, read_mapping, readable
from fashion.benchmarks.photo_sheet import sheet
from fashion.data.fashion_mnist import CLASSES, fashion_mnist
from fashion.errors import FashionError
from fashion.inference.predictor import Predictor
from fashion.preprocessing.formats import accepted


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
        for index in np.flatnonzero(data.test.labels == number)[:6]:
            on_a_floor(data.test.images[index, ..., 0], random).save(place / kind / f"{index}.jpg", quality=90)
    (place / "nothing").mkdir()
    for index in range(3):
        on_a_floor(np.zeros((28, 28), np.uint8), random).save(place / "nothing" / f"{index}.png")
    (place / "nothing" / "notes.txt").write_text("not a photo")
    mapping = {"boots": ["Ankle boot"], "jumpers": ["Pullover", "Coat"], "nothing": []}
    (place / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    return place


@pytest.fixture(scope="module")
def found(folder):
    return find_photos(folder, read_mapping(folder / "mapping.yaml", list(CLASSES)))


def test_photos_are_found_with_their_correct_classes_in_two_halves(found):
    assert [each.kind for each in found] == ["boots"] * 6 + ["jumpers"] * 6 + ["nothing"] * 3
    assert {(each.kind, each.correct) for each in found} == {("boots", (9,)), ("jumpers", (2, 4)), ("nothing", ())}
    assert {each.half for each in found} == {0, 1}


@pytest.mark.slow
def test_all_ways_are_measured_with_one_model(found, small_artifact):
    predictor, loaded = Predictor.load(small_artifact)
    result = photo_accuracy.measure(found, predictor, loaded.card.classes)
    assert list(result["ways"]) == list(photo_accuracy.WAYS)
    for way in result["ways"].values():
        assert len(way["answers"]) == 15
        everything = way["summaries"]["all"]
        rows = [answer["correct"] for answer in way["answers"] if answer["correct"] is not None]
        assert everything["micro_accuracy"] == pytest.approx(sum(rows) / 12)
        assert everything["macro_accuracy"] == pytest.approx(np.mean(list(everything["by_kind"].values())))
        assert sum(map(sum, (counts.values() for counts in way["confusion"].values()))) == 15
        # The model of the tests accepts everything at its own threshold.
        at_own_threshold = everything["at_own_threshold"]
        assert at_own_threshold["abstained"] == at_own_threshold["ood_abstained"] == 0
        assert 0 < way["milliseconds"]["prepare"] < 10_000
    ours = result["ways"]["this project"]
    assert all(answer["steps"][0].startswith("segmented from the photo") for answer in ours["answers"][:12])
    assert ours["summaries"]["first half"]["at_equal_abstention"]["abstained"] == pytest.approx(0.2, abs=0.2)
    text = photo_accuracy.table(result)
    for name in photo_accuracy.WAYS:
        assert name in text
    page = sheet(found, result)
    assert page.count("<li ") == 15
    assert page.count("data:image/png;base64,") == 15


def answer(kind: str, correct: bool | None, score: float, decision: str) -> dict:
    named = {"named": [3], "correct_named": correct}
    return {"kind": kind, "correct": correct, "score": score, "decision": decision, **named}


def test_a_summary_counts_correct_and_abstained_answers():
    answers = [
        answer("a", True, 1, "accept"), answer("a", True, 5, "abstain"), answer("a", False, 2, "accept"),
        answer("b", False, 6, "abstain"), answer("c", None, 7, "abstain"), answer("c", None, 0, "accept"),
    ]  # fmt: skip
    answers[2] |= {"named": [3, 4], "correct_named": True}
    summary = photo_accuracy.summarise(answers, threshold=1.5)
    assert summary["by_kind"] == pytest.approx({"a": 2 / 3, "b": 0})
    assert summary["macro_accuracy"] == pytest.approx(1 / 3)
    assert summary["micro_accuracy"] == 0.5
    assert summary["correct_named"] == 0.75
    assert summary["names"] == 1.25
    assert summary["at_own_threshold"] == {
        "abstained": 0.5, "accuracy_accepted": 0.5, "ood_abstained": 0.5, "correct_or_abstained": pytest.approx(4 / 6),
    }  # fmt: skip
    assert summary["at_equal_abstention"] == {
        "abstained": 0.75, "accuracy_accepted": 1, "ood_abstained": 0.5, "correct_or_abstained": pytest.approx(5 / 6),
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
def test_a_bad_mapping_is_one_clear_error(tmp_path, content, message):
    path = tmp_path / "mapping.yaml"
    path.write_text(content)
    with pytest.raises(FashionError, match=message) as raised:
        read_mapping(path, list(CLASSES))
    assert str(raised.value).startswith(str(path))


def test_bad_folders_are_one_clear_error(tmp_path, folder, run_command, small_artifact):
    mapping = {"boots": (9,)}
    message = "does not say which classes are correct for jumpers, nothing; name a YAML file that does with --mapping"
    with pytest.raises(FashionError, match=message):
        find_photos(folder, mapping)
    with pytest.raises(FashionError, match="contains no photo that has a correct class"):
        find_photos(tmp_path, mapping)
    finished = run_command("benchmark.py", "photos", tmp_path / "none", "--artifact", small_artifact)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"error: {tmp_path / 'none'}: there is no such folder")


def test_files_that_cannot_be_read_are_listed_and_skipped(tmp_path, folder, run_command, small_artifact, keras_backend):
    shutil.copytree(folder / "boots", tmp_path / "photos" / "dress")
    (tmp_path / "photos" / "dress" / "broken.jpg").write_text("text")
    (tmp_path / "photos" / "dress" / "folder.jpg").mkdir()
    (tmp_path / "photos" / "hat").mkdir()
    (tmp_path / "photos" / "hat" / "gone.jpg").symlink_to("nowhere")
    arguments = ("--artifact", small_artifact, "--backend", keras_backend, "--folder", tmp_path / "output")
    finished = run_command("benchmark.py", "photos", tmp_path / "photos", *arguments)
    assert finished.returncode == 2
    broken = tmp_path / "photos" / "dress" / "broken.jpg"
    assert f"error: {broken}: is not an image, expected {accepted()}; it is skipped\n" in finished.stderr
    result = json.loads((tmp_path / "output" / "photos.json").read_text())
    assert result["ways"]["this project"]["summaries"]["all"]["photos"] == 6
    assert [message.rpartition("/")[2] for message in result["unreadable"]] == [
        f"broken.jpg: is not an image, expected {accepted()}",
        "folder.jpg: cannot be read (Is a directory)",
        "gone.jpg: cannot be read (No such file or directory)",
    ]
    bad = [LabelledPhoto(tmp_path / "none.jpg", "hat", (), 0), LabelledPhoto(broken, "dress", (3,), 0)]
    with pytest.raises(FashionError, match=r"no photo that has a correct class can be read; .*broken.jpg: is not"):
        readable(bad)


def test_the_default_mapping_names_classes():
    mapping = read_mapping(MAPPING, list(CLASSES))
    assert len(mapping) == 10
    assert mapping["shoes"] == (5, 7, 9)
    assert mapping["hat"] == ()
