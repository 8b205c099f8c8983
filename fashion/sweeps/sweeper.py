"""What Hydra calls for ``-m``: the search that the configuration names, with the launcher that it names."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from fashion.backend import process_group
from fashion.config.arguments import key_of
from fashion.config.build import build
from fashion.config.nodes import ResolvedConfig
from fashion.config.recipes import name_recipe
from fashion.config.schema import check_target, resolved
from fashion.config.sources import source_arguments
from fashion.errors import IncompleteSweepError, InputError
from fashion.files import LOCK_FILE, exclusive_lock
from fashion.runs.folder import job_folders
from fashion.sweeps.manifest import MANIFEST_FILE, SweepManifest, refuse_other_arguments
from fashion.sweeps.progress import ProgressReporter
from fashion.sweeps.runner import JobRunner
from fashion.sweeps.sweep_resume import LAUNCHER_KEY, SEARCH_KEY

JOB_FOLDER = "${hydra.job.num}"  # in the sweep's folder; also Hydra's default


class FashionSweeper(Sweeper):
    """The only sweeper of this project; ``hparams_search`` selects the search that it runs."""

    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what Hydra composed, and make the launcher."""
        self.hydra_context, self.config = hydra_context, config
        _attach_to_cluster(config)
        try:
            self.launcher = Plugins.instance().instantiate_launcher(
                hydra_context=hydra_context, task_function=task_function, config=config
            )
        except ImportError as error:
            raise InputError(f"hydra/launcher: {error}; install the extra that provides it") from None

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep.

        Args:
            arguments: The overrides of the command line that are not Hydra's own.

        Raises:
            InputError: Before the first job starts, when the sweep is wrong.
            IncompleteSweepError: At the end, when jobs did not complete.
        """
        folder = Path(self.config.hydra.sweep.dir)
        try:
            self._sweep(arguments, folder)
        except InputError as error:
            raise name_recipe(error, self.config.hydra) from error

    def _sweep(self, arguments: list[str], folder: Path) -> None:
        from fashion.sweeps import sweep_page  # with its templates, which a single training does not need

        if process_group.from_environment():
            raise InputError(
                "-m: a sweep starts its own jobs; start it once, without srun --ntasks or JAX_NUM_PROCESSES"
            )
        self._refuse_subfolders()
        settings = self._settings()
        parsed = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(arguments)
        overrides = [override for override in parsed if not SEARCH_KEY.match(str(override.key_or_group))]
        _refuse_empty(overrides)
        search = build(settings)
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder), _removed_unless_begun(folder):
            manifest = self._manifest(arguments, settings, SweepManifest.read(folder), folder)
            runner = JobRunner(self.config, self.hydra_context.config_loader, self.launcher, manifest)
            try:
                with ProgressReporter(runner):
                    search.run(runner, overrides)
            finally:
                if (folder / MANIFEST_FILE).is_file():
                    table = sweep_page.write_report(folder)
                    print(f"{table.text()}\nreport         {folder / sweep_page.PAGE_FILE}")
        if table.incomplete:
            raise IncompleteSweepError(table.error(folder))

    def _refuse_subfolders(self) -> None:
        given = OmegaConf.to_container(self.config.hydra.sweep, resolve=False)["subdir"]  # type: ignore[index, call-overload]
        if given != JOB_FOLDER:
            raise InputError(
                f"hydra.sweep.subdir: got {given}, but each job writes to the folder of its number; leave it out"
            )

    def _settings(self) -> ResolvedConfig:
        settings: ResolvedConfig = resolved(OmegaConf.create({"sweep": self.config.sweep}))["sweep"]
        check_target("sweep", settings)
        return settings

    def _manifest(
        self, arguments: list[str], settings: ResolvedConfig, stored: SweepManifest | None, folder: Path
    ) -> SweepManifest:
        sources = source_arguments(self.config.hydra)
        launcher = [each for each in self.config.hydra.overrides.hydra if LAUNCHER_KEY.match(key_of(each))]
        if stored is None:
            if job_folders(folder):
                raise InputError(f"{folder}: there are jobs of another sweep; choose another hydra.sweep.dir")
            return SweepManifest(arguments, settings, sources=sources, launcher=launcher)
        if settings["resume"] is None:
            raise InputError(
                f"{folder}: there is a sweep already; resume it with -m sweep.resume={folder}, "
                "or choose another hydra.sweep.dir"
            )
        refuse_other_arguments(stored.arguments, arguments)
        return SweepManifest(arguments, settings, stored.jobs, sources, launcher, stored.identity)


@contextlib.contextmanager
def _removed_unless_begun(folder: Path) -> Iterator[None]:
    """Leave nothing of a sweep that is refused; its folder must be locked, since the lock of another is not its own."""
    try:
        yield
    finally:
        if not (folder / MANIFEST_FILE).is_file():
            (folder / LOCK_FILE).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it has other files
                folder.rmdir()


def _refuse_empty(overrides: list[Override]) -> None:
    for override in overrides:
        if override.is_discrete_sweep() and not list(override.sweep_string_iterator()):
            raise InputError(f"{override.input_line}: got no value to choose from, expected at least one")


def _attach_to_cluster(config: DictConfig) -> None:
    """Let Hydra's Ray launcher join a running cluster: it sets a size of the store, which only a new one may have."""
    start = OmegaConf.select(config, "hydra.launcher.ray.init")
    if start is not None and start.get("address"):
        with open_dict(start):
            start.setdefault("object_store_memory", None)
