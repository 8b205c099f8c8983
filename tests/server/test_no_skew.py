"""A file means the same everywhere: to the run that evaluates it, to ``predict.py`` and to the server."""

from pathlib import Path

import numpy as np
import pytest
from image_files import ORIENTATION
from PIL import Image
from serving import ADMIN, form, other_card, png, small_network

from fashion import artifact
from fashion.data.dataset import Dataset
from fashion.data.folder import folder
from fashion.inference.predictor import Predictor
from fashion.server.service.served_model import ServedModel

SIZE = 48


def noise(seed: int) -> Image.Image:
    """A smooth colour image, so that a shift, a turn or another filter shows."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    return Image.fromarray(small).resize((150, 200), Image.Resampling.BICUBIC)


def files(image: Image.Image) -> dict[str, bytes]:
    """One image as every kind of file."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    transparent = image.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(image.size))
    sixteen_bits = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return {
        "turned.jpg": png(image.resize((1200, 900)), "JPEG", exif=exif, quality=90),  # decoded at a reduced scale
        "cmyk.jpg": png(image.convert("CMYK"), "JPEG", quality=95),
        "transparent.png": png(transparent),
        "palette.png": png(image.quantize(30)),
        "sixteen bits.png": png(sixteen_bits),
        "gr\u00e9y.png": png(image.convert("L")),
        "exact.png": png(image.resize((SIZE, SIZE))),
        "wide.webp": png(image.resize((300, 40)), "WEBP"),
    }


@pytest.fixture(scope="module", params=[("rgb", "stretch"), ("grayscale", "pad"), ("rgb", "crop")], ids="-".join)
def data(request, tmp_path_factory) -> tuple[Path, Dataset]:
    root = tmp_path_factory.mktemp("data")
    for number, label in enumerate(("cat", "dog")):
        for count, split in enumerate(("train", "validation", "test")):
            place = root / split / label
            place.mkdir(parents=True)
            for name, content in files(noise(10 * count + number)).items():
                (place / name).write_bytes(content)
    color_mode, fit = request.param
    loaded = folder(
        str(root),
        image_size=SIZE,
        color_mode=color_mode,
        fit=fit,
        limit=None,
        validation_fraction=0.1,
        test_fraction=0.1,
        on_bad_image="fail",
        cache=str(tmp_path_factory.mktemp("cache")),
        cache_gb=1,
        seed=0,
    )
    return root, loaded


def test_the_run_the_command_and_the_server_agree_file_by_file(
    data, keras_backend, make_app, run_command, tmp_path, request
):
    root, loaded = data
    artifact.save(small_network(loaded.image_shape, 2), other_card(loaded.input, loaded.classes), tmp_path)
    model = ServedModel(tmp_path, keras_backend)
    model.load()
    client = make_app(model).test_client()
    predictor, _ = Predictor.load(tmp_path)
    split = loaded.validation
    assert len(split) == 16
    own = predictor.probabilities(np.asarray(split.images[:]))
    assert own.std(axis=0).min() > 0.01  # the files differ to the model
    paths = [root / source for source in split.sources]
    for path, row in zip(paths, own, strict=True):
        body, kind = form(("file", path.read_bytes()))
        answer = client.post("/predict", data=body, content_type=kind, headers=ADMIN).json
        assert answer["class_index"] == row.argmax(), path
        # One image and sixteen have different batch shapes, so the last bits may differ.
        assert np.allclose(list(answer["probabilities"].values()), row, atol=1e-6), path
    if "rgb-stretch" not in request.node.name:  # a command takes seconds to start
        return
    run = run_command("predict.py", *paths, "--artifact", tmp_path, "--backend", keras_backend)
    assert run.returncode == 0, run.stderr
    for path, row, line in zip(paths, own, run.stdout.splitlines(), strict=True):
        assert line.startswith(f"{path} ")
        first, second = np.argsort(-row)
        assert f" {loaded.classes[first]}  {row[first]:6.1%}   then {loaded.classes[second]} {row[second]:.1%}" in line
