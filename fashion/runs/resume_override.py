"""``trainer.resume=FOLDER``: the command line that resumes a run, and the check that it does."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from fashion.config.arguments import MULTIRUN_FLAG, is_flag, key_of
from fashion.config.nodes import ResolvedConfig
from fashion.config.override_text import quote_path, unquote_path
from fashion.config.renames import upgrade_config, upgrade_overrides
from fashion.config.sources import SOURCE_KEYS, source_arguments
from fashion.errors import InputError
from fashion.paths import PROJECT
from fashion.runs.folder import RunFolder
from fashion.runs.identity import refuse_changes
from fashion.runs.saved_config import CONFIG_NAME, offer_saved_config

START_KEYS = {"trainer.resume", "trainer.overwrite"}  # how a run is started, not what it computes


def command_line(arguments: list[str]) -> list[str]:
    """Turn ``trainer.resume=FOLDER`` into the command line that FOLDER's run was started with.

    A run that was composed from other configuration files than this project's is resumed from the configuration that
    it has saved, whether those files are named again or not.

    Args:
        arguments: The overrides given now, then flags.

    Returns:
        The run's own overrides, then those given now, with the run's folder as the output folder; ``arguments``
        unchanged when nothing is to be resumed.

    Raises:
        InputError: When FOLDER is not the folder of an unfinished run, or was started with other choices.
    """
    wanted = [argument.partition("=")[2] for argument in arguments if key_of(argument) == "trainer.resume"]
    if not wanted or wanted[-1] == "null":
        return arguments
    if {"-m", MULTIRUN_FLAG, "hydra.mode=MULTIRUN"} & set(arguments):
        raise InputError("trainer.resume: cannot be combined with --multirun; resume one run at a time")
    value = unquote_path(wanted[-1])
    if not value:
        raise InputError("trainer.resume: got nothing, expected the folder of an unfinished run, or null")
    folder = Path(value).expanduser().resolve()
    run = RunFolder(folder)
    if run.started_at is None:
        raise InputError(f"trainer.resume: got {folder}, expected the folder of an unfinished run (it has run.json)")
    if run.status() == "completed":
        raise InputError(f"trainer.resume: the run in {folder} is completed; there is nothing to resume")
    own = [override for override in upgrade_overrides(run.read_overrides()) if key_of(override) not in START_KEYS]
    hydra = run.read_hydra()
    choices = _choices(own, hydra)
    given = [each for each in arguments if not is_flag(each) and key_of(each) != "trainer.resume"]
    _refuse_other_choices(choices, given)
    flags = [argument for argument in arguments if is_flag(argument)]
    if source_arguments(hydra) if hydra else SOURCE_KEYS & set(map(key_of, run.read_record().command)):
        offer_saved_config(run, own, choices)
        flags = [flag for flag in flags if key_of(flag) not in {"--config-path", "--config-name"}]
        flags += [f"--config-path={PROJECT / 'configs'}", f"--config-name={CONFIG_NAME}"]
        given = [override for override in given if key_of(override) not in choices and override not in own]
        own = []
    places = [f"trainer.resume={quote_path(folder)}", f"hydra.run.dir={quote_path(folder)}"]
    return [*own, *given, *places, *flags]


def _choices(overrides: list[str], hydra: ResolvedConfig | None) -> dict[str, object]:
    """Return what a run was started with: group to choice."""
    stored = dict(hydra["runtime"]["choices"]) if hydra else {}
    groups = {key_of(override): override for override in overrides if "." not in key_of(override)}
    return {key: _choice(override) for key, override in groups.items()} | stored


def _choice(override: str) -> object:
    """Return the choice of an override, as it is stored: a name, a list, or None."""
    value = override.partition("=")[2]
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _refuse_other_choices(choices: Mapping[str, object], given: list[str]) -> None:
    for override in given:
        key, choice = key_of(override), _choice(override)
        if key in choices and not key.startswith("hydra/") and choice != choices[key]:
            got, had = (json.dumps(value, ensure_ascii=False).strip('"') for value in (choice, choices[key]))
            raise InputError(
                f"{key}: got {got}, but the run to resume has {had}; leave it as it was, or start a new run"
            )


def check(config: ResolvedConfig, folder: Path) -> None:
    """Refuse what would ruin the run in a folder: a fresh start there, or resuming it with another configuration.

    Args:
        config: A checked, resolved training configuration.
        folder: Where it would write.

    Raises:
        InputError: Naming the key that differs, or saying how to resume or replace the run.
    """
    wanted, overwrite = config["trainer"]["resume"], config["trainer"]["overwrite"]
    run = RunFolder(folder)
    if wanted is None:
        advice = "choose another hydra.run.dir, or replace it with trainer.overwrite=true"
        if run.finished and not overwrite:
            raise InputError(f"{folder}: there is a finished run; {advice}")
        if run.resume_state.is_file() and not overwrite:
            raise InputError(f"{folder}: there is an unfinished run; resume it with trainer.resume={folder}, {advice}")
        return
    if overwrite:
        raise InputError("trainer.overwrite: got true with trainer.resume, expected one or the other")
    if Path(wanted).resolve() != folder.resolve():
        raise InputError(f"trainer.resume: got {wanted}, but the run would write to {folder}; leave out hydra.run.dir")
    progress = run.read_progress()
    if progress is not None:
        refuse_changes(upgrade_config(progress.config), config)
