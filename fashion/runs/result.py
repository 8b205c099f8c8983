"""``result.json``: how a run ended."""

from typing import Any, Literal

import pydantic

EndStatus = Literal["completed", "failed", "interrupted"]


class RunResult(pydantic.BaseModel):
    """How a run ended.

    Attributes:
        status: How.
        metrics: ``test_`` and ``val_`` followed by ``accuracy``, ``macro_accuracy`` (which runs of former releases
            lack) and ``loss``, of a completed run; a value that was not finite is left out when it is read back.
        overrides: What was set on the command line, as Hydra reads it.
        config_hash: What it computed; see ``fashion.runs.identity``.
        error: Why the run is not completed, in one line.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    status: EndStatus
    metrics: dict[str, float] = {}
    overrides: list[str] = []
    config_hash: str | None = None
    error: str | None = None

    @pydantic.field_validator("metrics", mode="before")
    @classmethod
    def _without_nulls(cls, metrics: Any) -> Any:
        if not isinstance(metrics, dict):
            return metrics
        return {name: value for name, value in metrics.items() if value is not None}

    @pydantic.field_validator("error")
    @classmethod
    def _in_one_line(cls, error: str | None) -> str | None:
        """Join the lines, and drop the name of the class, which releases before 1.0 wrote in front."""
        return error and " ".join(error.split()).removeprefix("FashionError: ")
