"""Serve a trained model over HTTP: ``python scripts/serve.py --help``."""

from pathlib import Path

from omegaconf import DictConfig

from fashion.config.checks import check_serving
from fashion.config.command import hydra_command
from fashion.config.schema import resolved


@hydra_command("serve")
def main(cfg: DictConfig) -> None:
    """Serve until SIGTERM or SIGINT."""
    checked = check_serving(resolved(cfg))
    from fashion.server.process.master import serve

    serve(Path(checked.artifact), checked.backend, checked.server)


if __name__ == "__main__":
    main()
