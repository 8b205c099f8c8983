import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from fashion.audit.audit_settings import prepare_audit
from fashion.backend.selection import start_backend
from fashion.config.schema import resolved
from fashion.data.exploration_settings import prepare_exploration
from fashion.errors import FashionError
from fashion.evaluation.evaluation_settings import prepare_evaluation
from fashion.paths import PRETRAINED, PROJECT
from fashion.training.training_settings import check_groups, check_trainer, start_training

MODEL_FILE = "fashion_mnist_model.keras"
GROUPS = (
    "data",
    "augment",
    "model",
    "optimizer",
    "schedule",
    "callbacks",
    "trainer",
    "experiment",
    "debug",
    "hparams_search",
)
# What only the user can say.
MANDATORY = {
    "folder": ["data.root=photos"],
    "finetune": ["data.root=photos"],
    "from_scratch": ["data.root=photos"],
    "transfer": ["data.root=photos"],
    "huggingface": ["data.path=photos"],
    "manifest": ["data.file=labels.csv"],
}
CHOICES = [(group, file.stem) for group in GROUPS for file in sorted((PROJECT / "configs" / group).glob("*.yaml"))]


def here(keras_backend, *overrides):
    return (f"trainer.backend={keras_backend}", *overrides)


def test_a_linear_probe_is_refused_without_scikit_learn(compose_train, tmp_path, keras_backend, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "sklearn" else object())
    config = resolved(compose_train(tmp_path, *here(keras_backend, "trainer.linear_probe=true")))
    with pytest.raises(FashionError, match=r"trainer\.linear_probe: needs scikit-learn, which is not installed"):
        check_trainer(config)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_in_the_configuration_passes(compose_train, tmp_path, keras_backend, monkeypatch, group, choice):
    (tmp_path / "photos").mkdir()
    (tmp_path / "labels.csv").touch()
    monkeypatch.chdir(tmp_path)
    name = f"+{group}" if group in {"experiment", "debug"} else group
    needed = ["callbacks=none"] if choice == "one_cycle" else MANDATORY.get(choice, [])
    cfg = compose_train(tmp_path, f"{name.lstrip('+')}={choice}", *needed, *here(keras_backend))
    try:
        assert start_training(resolved(cfg)).backend == keras_backend
    finally:  # an experiment's precision is not that of the tests after it
        start_backend(keras_backend, deterministic=True)


def test_the_groups_are_those_of_the_readme(compose_train, tmp_path):
    assert {"data", "augment", "model", "optimizer", "schedule", "callbacks", "trainer"} <= set(compose_train(tmp_path))
    assert {(g, c) for g, c in CHOICES} >= {
        ("augment", "affine"), ("augment", "crop_flip"), ("augment", "none"), ("augment", "photo"),
        ("augment", "random_crop"), ("augment", "randaugment"), ("augment", "mixup"), ("augment", "cutmix"),
        ("model", "efficientnetb0"), ("model", "resnet"), ("model", "cnn"),
        ("optimizer", "adam"), ("optimizer", "adamw"), ("optimizer", "sgd"), ("optimizer", "muon"),
        ("optimizer", "discriminative_adamw"),
        ("schedule", "constant"), ("schedule", "one_cycle"),
        ("callbacks", "default"), ("callbacks", "tensorboard"), ("callbacks", "none"),
        ("experiment", "baseline"), ("experiment", "smoke"), ("experiment", "photo"),
    }  # fmt: skip


def test_a_calibrated_copy_does_not_replace_another_model(keras_backend, tmp_path):
    (tmp_path / MODEL_FILE).write_text("another model")
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        options = (
            f"backend={keras_backend}",
            f"artifact={PRETRAINED}",
            "calibrate=true",
            "data=fashion_mnist",
            f"run_folder={tmp_path}",
        )
        cfg = compose("evaluate", list(options))
    with pytest.raises(FashionError, match="there is another model, which calibrate=true would replace"):
        prepare_evaluation(cfg, lambda: str(tmp_path))
    (tmp_path / MODEL_FILE).write_bytes((PRETRAINED / MODEL_FILE).read_bytes())
    assert prepare_evaluation(cfg, lambda: str(tmp_path)).run_folder == str(tmp_path)


WRONG = [
    (["trainer.epochs=-1"], "trainer.epochs: got -1, expected greater than or equal to 0"),
    (["trainer.epochs=2.5"], "trainer.epochs: got 2.5, expected a valid integer"),
    (["trainer.epochs=true"], "trainer.epochs: got True, expected a valid integer"),
    (["trainer.seed=-1"], "trainer.seed: got -1, expected greater than or equal to 0"),
    (["trainer.backend=torch"], "trainer.backend: got 'torch', expected 'auto', 'jax' or 'tensorflow'"),
    (["trainer.jit=maybe"], "trainer.jit: got 'maybe', expected a valid boolean or 'auto'"),
    (["trainer.precision=float8"], "trainer.precision: got 'float8', expected 'auto', 'float32' or 'mixed_bfloat16'"),
    (["trainer.deterministic=1"], "trainer.deterministic: got 1, expected a valid boolean"),
    (["+trainer.epochz=3"], "trainer.epochz: there is no such key; trainer has .*did you mean trainer.epochs"),
    (["+something=3"], "something: there is no such key; the configuration has augment, .*trainer"),
    (["optimizer.learning_rate=fast"], "optimizer.learning_rate: got 'fast', expected a valid number"),
    (["optimizer.learning_rate=0"], "optimizer.learning_rate: got 0, expected greater than 0"),
    (["optimizer=sgd", "optimizer.momentum=1"], "optimizer.momentum: got 1, expected less than 1"),
    (["+optimizer.learning_rat=1"], "optimizer.learning_rat: there is no such key.*did you mean optimizer.learning"),
    (["model.dense_units=[0]"], "model.dense_units: got 0, expected greater than 0"),
    (["model.dense_units=128"], "model.dense_units: got 128, expected a valid list"),
    (
        ["augment=mixup", "trainer.hardest_share=0.5"],
        "trainer.hardest_share: got 0.5 with augment=mixup or cutmix, expected null: a mixed image has the labels of",
    ),
    (["trainer.hardest_from_epoch=1"], "trainer.hardest_from_epoch: got 1, expected greater than or equal to 2"),
    (
        ["trainer.hardest_to_epoch=2"],
        "trainer.hardest_to_epoch: got 2, expected null or at least trainer.hardest_from_epoch, 3",
    ),
    (["model.min_image_size=0"], "model.min_image_size: got 0, expected greater than 0"),
    (["model._target_=fashion.models.nosuch"], "model._target_: fashion.models.nosuch cannot be imported"),
    (["augment.rotation_degrees=270"], "augment.rotation_degrees: got 270, expected less than or equal to 180"),
    (["schedule=one_cycle", "callbacks=none", "schedule.warmup=1"], "schedule.warmup: got 1, expected less than 1"),
    (["schedule=one_cycle"], "callbacks: got keras.callbacks.ReduceLROnPlateau, which lowers a constant rate"),
    (["optimizer=muon", "optimizer.adam_weight_decay=-1"], "optimizer.adam_weight_decay: got -1, expected"),
    (["augment=mixup", "augment.base.hue=0.6"], "augment.base.hue: got 0.6, expected less than or equal to 0.5"),
    (["augment=mixup", "+augment.base.scale=1"], "augment.base.scale: there is no such key"),
    (["trainer.class_weights=sqrt"], "trainer.class_weights: got 'sqrt', expected 'balanced'"),
    (["trainer.epochs=0"], "trainer.epochs: got 0, expected at least 1, or 0 with trainer.linear_probe=true"),
    (["trainer.label_smoothing=1"], "trainer.label_smoothing: got 1, expected less than 1"),
    (["data.limit=0"], "data.limit: got 0, expected greater than 0"),
    (["data.limit=many"], "data.limit: got 'many', expected a valid integer"),
    (["data.validation_fraction=1"], "data.validation_fraction: got 1, expected less than 1"),
    (["data.folds=1", "data.fold=0"], "data.folds: got 1, expected greater than or equal to 2"),
    (["data.folds=5"], "data.fold: is not set although data.folds=5; -m data.folds=5 data.fold=0,1,2,3,4 runs all"),
    (["data.fold=5", "data.folds=5"], "data.fold: got 5 with data.folds=5, expected 0 to 4"),
    (["~model.dropout"], "model.dropout: is not set; add model.dropout=VALUE"),
    (["data=folder"], "data.root: is not set; add data.root=VALUE"),
    (["data=folder", "data.root=/nowhere"], "data.root: got '/nowhere', expected an existing folder"),
    (["data=manifest", "data.file=/etc"], "data.file: got '/etc', expected an existing file"),
    (["callbacks.early_stopping.patience=-3"], "callbacks.early_stopping.patience: got -3, expected greater than or"),
    (["callbacks.early_stopping.monitor=f1"], "callbacks.early_stopping.monitor: got 'f1', expected 'loss'"),
    (["model=cnn", "trainer.epochs=${nosuch}"], "trainer.epochs: .*nosuch"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "message"), WRONG, ids=[wrong[0][-1] for wrong in WRONG])
def test_a_wrong_value_is_named_with_what_is_allowed(compose_train, tmp_path, keras_backend, overrides, message):
    overrides = [*here(keras_backend), *overrides]
    with pytest.raises(FashionError, match=f"^{message}") as raised:
        start_training(resolved(compose_train(tmp_path, *overrides)))
    assert "\n" not in str(raised.value)


def test_the_seed_may_be_zero(compose_train, tmp_path, keras_backend):
    assert start_training(resolved(compose_train(tmp_path, "trainer.seed=0", *here(keras_backend)))).seed == 0


def test_data_parallel_is_refused_where_keras_cannot_do_it(compose_train, tmp_path):
    cfg = compose_train(tmp_path, "trainer.backend=tensorflow", "trainer.distribution=data_parallel")
    with pytest.raises(FashionError, match=r"trainer\.backend=jax"):
        start_training(resolved(cfg))


def test_another_backend_than_the_running_one_is_refused(compose_train, tmp_path, keras_backend):
    other = {"jax": "tensorflow", "tensorflow": "jax"}[keras_backend]
    with pytest.raises(FashionError, match=f"backend {other} was requested, but Keras already runs on {keras_backend}"):
        start_training(resolved(compose_train(tmp_path, f"trainer.backend={other}")))


DATA = {"_target_": "fashion.data.fashion_mnist.fashion_mnist", "root": "x", "download": False, "limit": None}


@pytest.mark.parametrize(
    ("prepare", "config", "message"),
    [
        (prepare_evaluation, {"artifact": 3}, "artifact: got 3, expected a valid string"),
        (prepare_evaluation, {"artefact": "x"}, "artefact: there is no such key.*did you mean artifact"),
        (prepare_evaluation, {"photos": "x"}, "photos: got x with outliers=false, expected outliers=true"),
        (prepare_exploration, {"seed": -1}, "seed: got -1"),
        (prepare_exploration, {"backend": "torch"}, "backend: got 'torch'"),
        (prepare_exploration, {"audit": True}, "audit: there is no such key.*did you mean scripts/audit.py"),
        (prepare_audit, {"seed": -1}, "seed: got -1"),
        (prepare_audit, {"artifact": 3}, "artifact: got 3, expected a valid string"),
    ],
)
def test_the_other_commands_check_their_keys(keras_backend, prepare, config, message):
    complete = {"backend": keras_backend, "run_folder": "x", "data": {**DATA, "validation_fraction": 0.1}}
    complete |= {
        prepare_evaluation: {
            "artifact": "x", "compare": None, "calibrate": False, "outliers": False, "photos": None, "robustness": False
        },
        prepare_exploration: {"seed": 0, "augment": {"_target_": "fashion.augment.none.none"}},
        prepare_audit: {"seed": 0, "artifact": None},
    }[prepare]  # fmt: skip
    with pytest.raises(FashionError, match=message):
        prepare(OmegaConf.create(complete | config), lambda: pytest.fail("a folder was made"))


def test_an_audit_is_refused_without_cleanlab(keras_backend, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "cleanlab" else object())
    config = {"backend": keras_backend, "run_folder": "x", "data": DATA, "seed": 0, "artifact": None}
    with pytest.raises(FashionError, match=r"audit: needs cleanlab, which is not installed; .* --extra audit$"):
        prepare_audit(OmegaConf.create(config), lambda: pytest.fail("a folder was made"))


def test_a_check_starts_no_backend(compose_train, tmp_path, keras_backend):
    """A sweep checks jobs for either backend on the one that runs."""
    other = {"jax": "tensorflow", "tensorflow": "jax"}[keras_backend]
    config = resolved(compose_train(tmp_path, f"trainer.backend={other}"))
    assert check_trainer(config).backend == other
    check_groups(config)


def test_every_argument_of_a_keras_class_has_a_type():
    """Keras's classes accept any keyword; those that our files give must have a type in the schema."""
    from fashion.config.schema import KERAS_ARGUMENTS

    for file in (PROJECT / "configs").glob("optimizer/*.yaml"):
        node = OmegaConf.load(file)
        given = set(node) - {"_target_"} if node["_target_"].startswith("keras.") else set()
        assert given <= set(KERAS_ARGUMENTS), f"{file.name} gives {given - set(KERAS_ARGUMENTS)}"
