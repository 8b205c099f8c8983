"""``auto`` becomes what a processor computes fastest, once for a run and for a sweep."""

import json

import pytest
import yaml
from omegaconf import OmegaConf

from fashion.backend import processor
from fashion.backend.processor import Processor
from fashion.config.command import training_configuration
from fashion.errors import InputError
from fashion.paths import PROJECT
from fashion.sweeps.manifest import SweepManifest
from fashion.sweeps.runner import JobRunner
from fashion.training import auto_settings
from fashion.training.auto_settings import AUTO, DEPTHWISE, applied, decide, fastest

FAST = Processor("Some CPU", False, True, "with avx512_bf16")
PLAIN = Processor("Some CPU", False, False, "without avx512_bf16")
GPU = Processor("Some GPU", True, True, "with compute capability 9.0")
OLD_GPU = Processor("Some GPU", True, False, "with compute capability 7.0")
BOTH = ("trainer.backend=auto", "trainer.precision=auto")


@pytest.mark.parametrize(
    ("processor", "overrides", "expected"),
    [
        (FAST, ["model=resnet"], ("tensorflow", "mixed_bfloat16")),
        (PLAIN, ["model=resnet"], ("tensorflow", "float32")),
        (FAST, ["model=efficientnetb0"], ("jax", "float32")),
        (FAST, ["model=efficientnetb0", "data=cifar10"], ("jax", "float32")),
        (FAST, ["model=efficientnetb0", "model.stem_stride=1"], ("tensorflow", "float32")),
        (PLAIN, ["model=efficientnetb0", "data=folder", "data.root=photos"], ("tensorflow", "float32")),
        (PLAIN, ["model=efficientnetb0", "data=folder", "data.root=photos", "data.image_size=28"], ("jax", "float32")),
        (FAST, ["model=efficientnet_lite0", "data=folder", "data.root=photos"], ("tensorflow", "float32")),
        (GPU, ["model=efficientnetb0"], ("jax", "mixed_bfloat16")),
        (OLD_GPU, ["model=resnet"], ("jax", "float32")),
        (FAST, ["model=resnet", "trainer.distribution=data_parallel"], ("jax", "mixed_bfloat16")),
    ],
)
def test_the_fastest_depends_on_processor_network_and_image(tmp_path, processor, overrides, expected):
    values, reason = fastest(training_configuration(tmp_path, *overrides), processor)
    assert tuple(values.values()) == expected
    assert reason.startswith(processor.name) or reason.startswith("depthwise convolutions")


def test_a_backend_that_is_not_installed_is_not_chosen(tmp_path, monkeypatch):
    config = training_configuration(tmp_path, "model=resnet")
    monkeypatch.setitem(processor.PACKAGES, "tensorflow", ("no-such-package",))
    assert fastest(config, FAST) == (
        {"backend": "jax", "precision": "mixed_bfloat16"},
        "Some CPU with avx512_bf16; tensorflow is not installed",
    )


def test_depthwise_networks_are_those_that_have_such_layers():
    for file in (PROJECT / "configs" / "model").glob("*.yaml"):
        target = yaml.safe_load(file.read_text())["_target_"]
        module = PROJECT / (target.rpartition(".")[0].replace(".", "/") + ".py")
        source = module.read_text()
        depthwise = "DepthwiseConv2D" in source or "fashion.models.efficientnet " in source
        assert (target in DEPTHWISE) == (depthwise or target.endswith("keras_application")), target


def test_only_what_is_auto_is_decided(tmp_path, monkeypatch):
    monkeypatch.setattr(auto_settings, "find_processor", lambda **_: FAST)
    config = training_configuration(tmp_path, "model=resnet", "trainer.precision=auto")
    decision = decide(config)
    assert decision == ({"precision": "mixed_bfloat16"}, "Some CPU with avx512_bf16")
    assert applied(config, decision.values)["trainer"] == config["trainer"] | {"precision": "mixed_bfloat16"}
    assert decide(training_configuration(tmp_path)) == ({}, "")


def test_precision_on_tensorflow_is_that_of_the_cpu_beside_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(auto_settings, "find_processor", lambda *, with_gpu: GPU if with_gpu else PLAIN)
    fixed = ["model=resnet", "trainer.precision=auto"]
    chosen = {
        backend: decide(training_configuration(tmp_path, *fixed, f"trainer.backend={backend}")).values
        for backend in ("jax", "tensorflow")
    }
    assert chosen == {"jax": {"precision": "mixed_bfloat16"}, "tensorflow": {"precision": "float32"}}


def test_a_resumed_run_keeps_what_was_decided_on_another_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(auto_settings, "find_processor", lambda **_: PLAIN)
    saved = {"trainer": {"backend": "tensorflow", "precision": "mixed_bfloat16"}}
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(yaml.safe_dump(saved))
    (tmp_path / "run.json").write_text(json.dumps({"decided": "Some CPU with avx512_bf16"}))
    config = training_configuration(tmp_path, "model=resnet", *BOTH)
    assert decide(config).values == {"backend": "tensorflow", "precision": "float32"}
    config["trainer"]["resume"] = str(tmp_path)
    assert decide(config) == (saved["trainer"], "Some CPU with avx512_bf16")


def test_a_resumed_run_decides_anew_if_it_has_stored_nothing(tmp_path, monkeypatch):
    """It ran without Hydra's copy of the configuration, and was stopped in its first epoch."""
    monkeypatch.setattr(auto_settings, "find_processor", lambda **_: PLAIN)
    (tmp_path / "run.json").write_text(json.dumps({"decided": "Some CPU with avx512_bf16"}))
    config = training_configuration(tmp_path, "model=resnet", *BOTH)
    config["trainer"]["resume"] = str(tmp_path)
    assert decide(config).values == {"backend": "tensorflow", "precision": "float32"}


class Composed(JobRunner):
    """A runner whose jobs leave both to the machine."""

    def compose(self, overrides):
        return training_configuration(self.folder, "model=resnet", *BOTH, *overrides)


def test_a_sweep_decides_once_for_all_its_jobs(tmp_path, monkeypatch):
    def jobs():
        config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
        runner = Composed(config, None, None, manifest)
        return runner.add([([f"trainer.seed={seed}"], None) for seed in range(2)], checked=True)

    manifest = SweepManifest([], {})
    monkeypatch.setattr(auto_settings, "find_processor", lambda **_: FAST)
    decided = ["trainer.backend=tensorflow", "trainer.precision=mixed_bfloat16"]
    assert [job.overrides for job in jobs()] == [[f"trainer.seed={seed}", *decided] for seed in range(2)]
    assert [job.config["trainer"]["precision"] for job in manifest.jobs] == ["mixed_bfloat16"] * 2
    monkeypatch.setattr(auto_settings, "find_processor", lambda **_: PLAIN)  # where it is resumed
    assert [job.overrides[1:] for job in jobs()] == [decided, decided]


def test_another_word_is_refused_with_those_that_are_allowed(tmp_path):
    for key, words in (
        ("backend", "'auto', 'jax' or 'tensorflow'"),
        ("precision", "'auto', 'float32' or 'mixed_bfloat16'"),
    ):
        with pytest.raises(InputError) as error:
            decide(training_configuration(tmp_path, f"trainer.{key}=fast"))
        assert str(error.value) == f"trainer.{key}: got 'fast', expected {words}"


def test_every_recipe_leaves_both_to_the_machine(tmp_path):
    for file in (PROJECT / "configs" / "experiment").glob("*.yaml"):
        if file.stem in ("smoke", "baseline"):  # whose figures are those of JAX in float32
            continue
        root = ["data.root=photos"] if "data: folder" in file.read_text() else []
        trainer = training_configuration(tmp_path, f"experiment={file.stem}", *root)["trainer"]
        assert (trainer["backend"], trainer["precision"]) == (AUTO, AUTO), file.stem
