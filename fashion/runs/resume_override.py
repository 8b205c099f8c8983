"""``trainer.resume=FOLDER``: the command line that resumes a run, and the check that it does."""

from pathlib import Path

from fashion.config.nodes import ResolvedConfig
from fashion.config.override_text import quote_path, unquote_path
from fashion.config.renames import upgrade_config, upgrade_overrides
from fashion.errors import InputError
from fashion.runs.folder import RunFolder
from fashion.runs.identity import refuse_changes


def command_line(arguments: list[str]) -> list[str]:
    """Turn ``trainer.resume=FOLDER`` into the command line that FOLDER's run was started with.

    Args:
        arguments: The overrides given now.

    Returns:
        The run's own overrides, then those given now, with the run's folder as the output folder; ``arguments``
        unchanged when nothing is to be resumed.

    Raises:
        InputError: When FOLDER is not the folder of an unfinished run.
    """
    wanted = [argument.partition("=")[2] for argument in arguments if _key(argument) == "trainer.resume"]
    if not wanted or wanted[-1] == "null":
        return arguments
    if {"-m", "--multirun"} & set(arguments):
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
    own = [override for override in upgrade_overrides(run.read_overrides()) if _key(override) != "trainer.overwrite"]
    kept = [override for override in (*own, *arguments) if _key(override) != "trainer.resume"]
    return [*kept, f"trainer.resume={quote_path(folder)}", f"hydra.run.dir={quote_path(folder)}"]


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


def _key(override: str) -> str:
    """Return the key that an override sets; of anything else, nothing."""
    key, equals, _ = override.lstrip("+").partition("=")
    return key if equals else ""
