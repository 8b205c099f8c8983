"""Find duplicates and likely label errors in the data set: ``python scripts/audit.py --help``."""

from pathlib import Path

from fashion.audit.audit_settings import AuditSettings, prepare_audit
from fashion.config.build import build
from fashion.config.command import hydra_command
from fashion.evaluation.artifact_data import command_line


@hydra_command("audit", prepare_audit, rewrite=command_line)
def main(settings: AuditSettings) -> None:
    """Print the findings, and write them and their figures to the run's folder."""
    from fashion.audit.data_audit import audit, load_predictor

    dataset = build(settings.data, seed=settings.seed)
    audit(dataset, load_predictor(settings.artifact, dataset), Path(settings.run_folder), seed=settings.seed)


if __name__ == "__main__":
    main()
