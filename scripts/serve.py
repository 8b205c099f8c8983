"""Serve a trained model over HTTP: ``python scripts/serve.py --help``."""

from pathlib import Path

from fashion.config.command import hydra_command
from fashion.errors import FashionError
from fashion.server.environment import first_password
from fashion.server.serving_settings import ServingSettings, add_environment, name_variables, prepare_serving


@hydra_command("serve", prepare_serving, rewrite=add_environment)
def main(settings: ServingSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    from fashion.server.process.master import serve

    try:
        serve(Path(settings.artifact), settings.backend, settings.server, first_password())
    except FashionError as error:
        raise name_variables(error) from error


if __name__ == "__main__":
    main()
