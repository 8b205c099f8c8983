"""The tables of the exploration against known numbers, and its plots by what they show."""

import sys
from pathlib import Path

import numpy as np
import pytest
from data_sets import fashion_like
from matplotlib.figure import Figure
from matplotlib.image import imread

from fashion.data import exploration
from fashion.data.dataset import Dataset, PixelStatistics, Split
from fashion.data.exploration import explore, one_of_each_class, pixel_histogram
from fashion.data.exploration_plots import draw_augmentation, draw_class_means, draw_classes
from fashion.data.fashion_mnist import CLASSES, fashion_mnist
from fashion.data.image_rows import ImageRows
from fashion.errors import FashionError
from fashion.figures import TILE_GAP_PIXELS, saved_figure, show_tiles
from fashion.preprocessing.input_spec import InputSpec

PITCH = 28 + TILE_GAP_PIXELS


def flat(labels: np.ndarray) -> np.ndarray:
    """Images of one grey each, by class: 0, 25, 50, ... 225."""
    return np.broadcast_to((25 * labels)[:, None, None, None], (len(labels), 28, 28, 1)).astype(np.uint8)


def split(images: np.ndarray, labels: np.ndarray) -> Split:
    return Split(images, labels, np.arange(len(labels)))


def training_only(labels: np.ndarray) -> Dataset:
    empty = split(np.empty((0, 28, 28, 1), np.uint8), np.empty(0, np.int64))
    return fashion_like(split(flat(labels), labels), empty, empty)


@pytest.fixture
def dataset() -> Dataset:
    """A train split in which class c has c + 1 images, 2 validation images and 3 test images of each class."""
    labels = [np.repeat(np.arange(10), counts) for counts in (np.arange(1, 11), 2, 3)]
    return fashion_like(*(split(flat(each), each) for each in labels))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures as they are saved: files are tested by size and colour, figures by content."""
    figures: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *args, **kw: (figures.append(figure), save(figure, *args, **kw))
    )
    return figures


def sheet(figure: Figure, axes: int = 0) -> np.ndarray:
    """The array that an axes shows, NaN where it is blank."""
    return np.ma.filled(figure.axes[axes].images[0].get_array().astype(float), np.nan)


def tile(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    return sheet[row * PITCH : row * PITCH + 28, column * PITCH : column * PITCH + 28]


def names(labels: list) -> list[str]:
    return [label.get_text() for label in labels]


def describe(dataset: Dataset) -> str:
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return exploration.describe(dataset, {name: pixel_histogram(each.images) for name, each in splits.items()})


def no_augmentation(images: np.ndarray, seed: int) -> np.ndarray:
    return images / 255


def rows_of(text: str) -> dict[str, list[str]]:
    """The class table: name to its numbers."""
    table = text.split("\n\n")[1].splitlines()
    start, end = table[0].index("class"), table[0].index("class") + len("largest / smallest")
    return {line[start:end].strip(): line[end:].split() for line in table[2:]}


def test_shapes_types_and_ranges_are_listed(dataset: Dataset) -> None:
    assert describe(dataset).split("\n\n")[0].splitlines() == [
        "split       array   shape            dtype  values",
        "----------  ------  ---------------  -----  ------",
        "train       images  (55, 28, 28, 1)  uint8  0-225",
        "train       labels  (55,)            int64  0-9",
        "validation  images  (20, 28, 28, 1)  uint8  0-225",
        "validation  labels  (20,)            int64  0-9",
        "test        images  (30, 28, 28, 1)  uint8  0-225",
        "test        labels  (30,)            int64  0-9",
    ]


def test_the_class_balance_is_counted(dataset: Dataset) -> None:
    rows = rows_of(describe(dataset))
    assert list(rows) == [*CLASSES, "all", "largest / smallest"]
    assert rows["T-shirt/top"] == ["1", "1.8%", "2", "10.0%", "3", "10.0%"]
    assert rows["Ankle boot"] == ["10", "18.2%", "2", "10.0%", "3", "10.0%"]
    assert rows["all"] == ["55", "100.0%", "20", "100.0%", "30", "100.0%"]
    assert rows["largest / smallest"] == ["10.00", "1.00", "1.00"]


def test_columns_are_aligned(dataset: Dataset) -> None:
    header, rule, *rows = describe(dataset).split("\n\n")[1].splitlines()
    ends = [len(header[: header.index(name)]) + len(name) for name in ("train", "validation", "test")]
    for end in ends:
        assert rule[end - 1] == "-"
        assert all(row[end - 1] != " " and row[end : end + 1] in ("", " ") for row in rows)


def test_the_pixel_statistics_are_those_of_numpy() -> None:
    labels = np.tile(np.arange(10), 4)
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1), np.uint8)
    images[:, :7] = 0
    text = describe(fashion_like(*[split(images, labels)] * 3)).split("\n\n")[2]
    assert f"{(images == 0).mean():.1%} are 0 and {(images == 255).mean():.1%} are 255" in text
    assert text.endswith(f"mean {(images / 255).mean():.4f}, standard deviation {(images / 255).std():.4f}.")


def test_the_histogram_counts_every_pixel() -> None:
    images = np.zeros((2, 28, 28, 1), np.uint8)
    images[0, 0, :3, 0] = [255, 255, 7]
    histogram = pixel_histogram(images)
    assert histogram.shape == (1, 256)
    assert {value: count for value, count in enumerate(histogram[0]) if count} == {0: 2 * 784 - 3, 7: 1, 255: 2}


def test_one_of_each_class_is_in_class_order() -> None:
    dataset = training_only(np.array([3, 1, 1, 0, 2, 9, 8, 7, 6, 5, 4, 0]))
    images, names = one_of_each_class(dataset)
    assert images[:, 0, 0, 0].tolist() == [25 * label for label in range(10)]
    assert names == list(CLASSES)


def test_the_grid_has_a_named_row_for_each_class(dataset: Dataset, drawn: list[Figure], tmp_path: Path) -> None:
    draw_classes(dataset, tmp_path / "classes.png")
    shown = sheet(drawn[0])
    assert names(drawn[0].axes[0].get_yticklabels()) == list(CLASSES)
    assert shown.shape == (10 * PITCH - TILE_GAP_PIXELS, 10 * PITCH - TILE_GAP_PIXELS)
    for row in range(10):
        for column in range(10):
            # Class c of the fixture has c + 1 images; what is lacking stays blank.
            expected = 25 * row / 255 if column <= row else np.nan
            np.testing.assert_allclose(tile(shown, row, column), expected)
    assert np.isnan(shown[28:PITCH]).all()


def test_the_means_and_deviations_are_those_of_each_class(drawn: list[Figure], tmp_path: Path) -> None:
    dataset = training_only(np.repeat(np.arange(10), 2))
    dataset.train.images[1::2] += 20
    draw_class_means(dataset, tmp_path / "means.png")
    means, deviations = sheet(drawn[0], 0), sheet(drawn[0], 1)
    assert names(drawn[0].axes[0].get_xticklabels()) == list(CLASSES)
    for label in range(10):
        np.testing.assert_allclose(tile(means, 0, label), (25 * label + 10) / 255, rtol=1e-5)
        np.testing.assert_allclose(tile(deviations, 0, label), 10 / 255, rtol=1e-5)


def test_augmentation_is_shown_before_and_after(dataset: Dataset, drawn: list[Figure], tmp_path: Path) -> None:
    calls: list[tuple[np.ndarray, int]] = []

    def darken(images: np.ndarray, seed: int) -> np.ndarray:
        calls.append((images, seed))
        return images / 255 / (seed + 2)

    images, names = one_of_each_class(dataset)
    draw_augmentation(images, names, darken, tmp_path / "augmentation.png")
    assert [seed for _, seed in calls] == [0, 1, 2, 3]
    assert all(given.dtype == np.uint8 and np.array_equal(given, images) for given, _ in calls)
    before, after = sheet(drawn[0], 0), sheet(drawn[0], 1)
    for column in range(10):
        np.testing.assert_allclose(tile(before, 0, column), 25 * column / 255)
        for seed in range(4):
            np.testing.assert_allclose(tile(after, seed, column), 25 * column / 255 / (seed + 2))


def test_explore_prints_and_writes_everything(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    explore(dataset, no_augmentation, folder)
    sizes = {
        "classes.png": (1230, 1290),
        "class_means.png": (510, 1800),
        "pixel_histogram.png": (690, 1650),
        "augmentation.png": (960, 1650),
    }
    assert sorted(path.name for path in folder.iterdir()) == sorted(sizes)
    for name, size in sizes.items():
        pixels = imread(folder / name)
        assert pixels.shape[:2] == size
        # Paper, ink and something in between, and nothing cut off at the edges.
        assert len(np.unique(pixels[:, :, 0])) > 20
        assert pixels[:, :, :3].std() > 0.1
        for edge in (pixels[:5], pixels[-5:], pixels[:, :5], pixels[:, -5:]):
            assert (edge == 1).all()
    output = capsys.readouterr().out
    assert output.startswith(describe(dataset))
    assert output.splitlines()[-4:] == [f"wrote {folder / name}" for name in sizes]


def test_no_window_system_is_touched(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    explore(dataset, no_augmentation, tmp_path)


def test_equal_plots_are_equal_files_and_the_style_stays_inside(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    for name in ("first.png", "second.png"):
        with saved_figure(tmp_path / name, 2, 1, "Title") as figure:
            show_tiles(figure.add_subplot(), np.full((1, 2, 28, 28, 1), 0.5), rows=["row"])
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_a_plot_that_fails_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    path.write_bytes(b"earlier")
    with pytest.raises(ZeroDivisionError), saved_figure(path, 2, 1, "Title"):
        raise ZeroDivisionError
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_clear_error(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(figure: Figure, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(FashionError, match=r"classes\.png: cannot be written \(No space left on device\)"):
        explore(dataset, no_augmentation, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_real_data_set_has_its_known_numbers(fashion_mnist_root: Path) -> None:
    text = describe(fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0))
    rows = rows_of(text)
    assert all(rows[name] == ["5,400", "10.0%", "600", "10.0%", "1,000", "10.0%"] for name in CLASSES)
    assert rows["all"] == ["54,000", "100.0%", "6,000", "100.0%", "10,000", "100.0%"]
    assert "50.2% are 0 and" in text
    assert "mean 0.286" in text


def colourful(classes: int, side: int = 120) -> Dataset:
    """Photos of one colour for each class, whose first class has most images, as rows of a file are."""
    labels = np.repeat(np.arange(classes), [3, *[2] * (classes - 1)])
    colours = np.random.default_rng(0).integers(60, 256, (classes, 1, 1, 3), np.uint8)
    images = ImageRows(np.broadcast_to(colours, (classes, side, side, 3)), labels)
    one = Split(images, labels, np.array([f"photo {number}.jpg" for number in range(len(labels))]))
    names = tuple(f"a class with the long name {number}" for number in range(classes))
    spec = InputSpec(height=side, width=side, channels=3, preprocessing="resize")
    return Dataset("mine", "mine", names, spec, PixelStatistics((0.5,) * 3, (0.2,) * 3), one, one, one, {})


@pytest.mark.parametrize(("classes", "rows", "columns"), [(2, 2, 2), (200, 20, 10)])
def test_few_and_many_classes_in_colour_are_explored(classes, rows, columns, drawn, tmp_path, capsys) -> None:
    explore(colourful(classes), no_augmentation, tmp_path)
    grid, means, pixels, augmented = drawn
    assert len(names(grid.axes[0].get_yticklabels())) == rows
    assert len(names(means.axes[0].get_xticklabels())) == columns
    assert len(names(augmented.axes[0].get_xticklabels())) == columns
    assert len(names(pixels.axes[1].get_yticklabels())) == rows
    assert [line.get_label() for line in pixels.axes[0].lines] == ["red", "green", "blue"]
    upper, lower = (axes.get_position() for axes in means.axes[:2])
    assert (upper.x0, upper.x1) == pytest.approx((lower.x0, lower.x1))
    for figure in drawn:
        headline = figure._suptitle.get_window_extent()
        assert headline.x1 < figure.bbox.x1
    which = "each class" if classes == 2 else "the 20 largest of 200 classes"
    assert grid.get_suptitle() == f"mine: ten training images of {which}"
    shown = grid.axes[0].images[0].get_array()
    assert shown.shape == (98 * rows - 2, 98 * 10 - 2, 4)  # reduced, and blank where there is no image
    assert shown[5, 98 * 9 + 5, 3] == 0
    output = capsys.readouterr().out
    assert "mean of red, green and blue 0." in output
    assert ("160 classes between these" in output) == (classes == 200)
