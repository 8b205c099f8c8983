"""Export a trained model to another format: ``python scripts/export.py --help``."""

from fashion.config.command import hydra_command
from fashion.evaluation.artifact_data import command_line
from fashion.export.export_settings import ExportSettings, prepare_export


@hydra_command("export", prepare_export, rewrite=command_line)
def main(settings: ExportSettings) -> None:
    """Export the artifact, and measure the result."""
    from fashion.export.export import export

    export(settings)


if __name__ == "__main__":
    main()
