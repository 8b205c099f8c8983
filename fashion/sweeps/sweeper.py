"""What Hydra calls for ``-m``: the search that the configuration names, run by the launcher that it names."""

import contextlib
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from fashion.config.build import build
from fashion.config.schema import check_target, resolved
from fashion.errors import InputError
from fashion.files import alone_in
from fashion.sweeps import manifest
from fashion.sweeps.manifest import Plan
from fashion.sweeps.progress import Board
from fashion.sweeps.runner import Runner
from fashion.sweeps.sweep_resume import OF_THE_SEARCH


class FashionSweeper(Sweeper):
    """The one sweeper of this project; ``hparams_search`` says which search it runs."""

    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra composed, and make the launcher."""
        self.hydra_context, self.config = hydra_context, config
        _attach_to_cluster(config)
        try:
            self.launcher = Plugins.instance().instantiate_launcher(
                hydra_context=hydra_context, task_function=task_function, config=config
            )
        except ImportError as error:
            raise InputError(f"hydra/launcher: {error}; install the extra that brings it") from None

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep.

        Args:
            arguments: The overrides of the command line that are not Hydra's own.

        Raises:
            InputError: Before the first job starts, when the sweep is wrong; at the end, when jobs failed.
        """
        folder = Path(self.config.hydra.sweep.dir)
        try:
            self._sweep(arguments, folder)
        finally:
            if not (folder / manifest.PLAN_FILE).is_file():  # refused: nothing is left behind
                for lock in folder.glob(".lock"):
                    lock.unlink()
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _sweep(self, arguments: list[str], folder: Path) -> None:
        from fashion.sweeps import results  # with its templates: not for every training

        settings = self._settings()
        parsed = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(arguments)
        overrides = [override for override in parsed if not OF_THE_SEARCH.match(str(override.key_or_group))]
        _refuse_empty(overrides)
        search = build(settings)
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder):
            stored = manifest.read(folder)
            current = self._plan(arguments, settings, stored, folder)
            runner = Runner(self.config, self.hydra_context.config_loader, self.launcher, current)
            try:
                with Board(runner):
                    search.run(runner, overrides)
            finally:
                if (folder / manifest.PLAN_FILE).is_file():
                    table = results.write(folder)
                    print(f"{table.text()}\nreport         {folder / results.PAGE_FILE}")
        if table.incomplete:
            raise InputError(table.error(folder))

    def _settings(self) -> dict[str, Any]:
        settings = resolved(OmegaConf.create({"sweep": self.config.sweep}))["sweep"]
        check_target("sweep", settings)
        return settings

    def _plan(self, arguments: list[str], settings: dict[str, Any], stored: Plan | None, folder: Path) -> Plan:
        if stored is None:
            return Plan(arguments, settings)
        if settings["resume"] is None:
            raise InputError(
                f"{folder}: there is a sweep already; go on with -m sweep.resume={folder}, "
                "or choose another hydra.sweep.dir"
            )
        manifest.refuse_other_arguments(stored.arguments, arguments)
        return Plan(arguments, settings, stored.jobs)


def _refuse_empty(overrides: list[Override]) -> None:
    for override in overrides:
        if override.is_discrete_sweep() and not list(override.sweep_string_iterator()):
            raise InputError(f"{override.input_line}: got no value to choose, expected at least one")


def _attach_to_cluster(config: DictConfig) -> None:
    """Let Hydra's Ray launcher join a running cluster: it sets a size of the store, which only a new one may have."""
    start = OmegaConf.select(config, "hydra.launcher.ray.init")
    if start is not None and start.get("address"):
        with open_dict(start):
            start.setdefault("object_store_memory", None)
