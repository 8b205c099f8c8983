"""Names of earlier releases: translated in what is stored, refused with a hint on the command line."""

import pytest
from hydra.utils import get_object

from fashion.config.renames import MOVED_TARGETS, upgrade_config, upgrade_overrides
from fashion.config.schema import unknown_key


@pytest.mark.parametrize(
    ("stored", "current"),
    [
        ("experiment=seed_program", "experiment=baseline"),
        ("+experiment=seed_program,smoke", "+experiment=baseline,smoke"),
        ("experiment=my_seed_program", "experiment=my_seed_program"),
        ("model.widening=10", "model.width_multiplier=10"),
        ("++augment.widening=choice(0.5,0.7)", "++augment.aspect_jitter=choice(0.5,0.7)"),
        ("~model.widening", "~model.width_multiplier"),
        ("sweep.at_a_time=4", "sweep.concurrency=4"),
        ("trainer.epochs=3", "trainer.epochs=3"),
        ("data.root=/a=b", "data.root=/a=b"),
        ("a._target_=fashion.sweeps.optuna.OptunaSearch", "a._target_=fashion.sweeps.optuna_search.OptunaSearch"),
    ],
)  # fmt: skip
def test_a_stored_override_is_read_with_todays_names(stored, current):
    assert upgrade_overrides([stored]) == [current]


def test_a_stored_configuration_is_read_with_todays_names():
    stored = {
        "model": {"_target_": "fashion.models.wide_resnet.wide_resnet", "widening": 4, "dropout": 0.3},
        "augment": {"_target_": "fashion.augment.photo.Photo", "widening": 0.7},
        "callbacks": {"mlflow": {"_target_": "fashion.training.mlflow.MLflow", "store": None}},
        "trainer": {"epochs": 3},
        "run_folder": "x",
    }
    assert upgrade_config(stored) == {
        "model": {"_target_": "fashion.models.wide_resnet.wide_resnet", "width_multiplier": 4, "dropout": 0.3},
        "augment": {"_target_": "fashion.augment.photo.Photo", "aspect_jitter": 0.7},
        "callbacks": {"mlflow": {"_target_": "fashion.training.mlflow_tracker.MLflowTracker", "store": None}},
        "trainer": {
            "epochs": 3,
            "frozen_batch_norm": False,
            "frozen_through": None,
            "hardest_share": None,
            "hardest_from_epoch": 3,
            "hardest_to_epoch": None,
            "linear_probe": False,
            "shift_average": False,
        },
        "run_folder": "x",
    }


@pytest.mark.parametrize("target", MOVED_TARGETS.values())
def test_a_moved_target_is_where_the_table_says(target):
    assert callable(get_object(target))


@pytest.mark.parametrize(
    ("former", "keys", "hint"),
    [
        ("model.widening", {"blocks_per_stage", "width_multiplier"}, "did you mean model.width_multiplier?"),
        ("augment.widening", {"aspect_jitter", "zoom"}, "did you mean augment.aspect_jitter?"),
        ("sweep.at_a_time", {"concurrency", "trials"}, "did you mean sweep.concurrency?"),
        ("server.keep_pictures_days", {"keep_images", "keep_images_days"}, "did you mean server.keep_images_days?"),
        ("audit", {"artifact", "seed"}, "did you mean scripts/audit.py?"),
    ],
)
def test_a_former_name_on_the_command_line_gets_a_hint(former, keys, hint):
    assert str(unknown_key(former, keys, former.rpartition(".")[0])).endswith(hint)


def test_a_former_name_is_not_suggested_where_the_new_one_does_not_exist():
    assert "did you mean" not in str(unknown_key("model.widening", {"stem_filters", "stem_stride"}, "model"))
