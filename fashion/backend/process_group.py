"""The processes that train one network together, as the environment describes them; JAX is not imported yet."""

import os
import re
from dataclasses import dataclass

from fashion.errors import InputError

ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
# A job step of Slurm, as srun starts it. A batch script has the job's SLURM_NTASKS too, but none of these.
SLURM_NODES, SLURM_COUNT, SLURM_INDEX = "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"

ALONE = {COUNT: "1"}  # the environment of a process that is to train by itself, whatever the one around it says


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of one training, and which of them this one is.

    Attributes:
        index: From 0; process 0 coordinates the others and alone writes.
        count: At least 2.
        address: ``HOST:PORT`` at which process 0 listens; None where JAX derives it from Slurm's job.
    """

    index: int
    count: int
    address: str | None


def from_environment() -> ProcessGroup | None:
    """Return the group that this process was started in; None where it trains alone.

    Raises:
        InputError: When a variable has an invalid value, or another one is missing.
    """
    in_step = SLURM_NODES in os.environ
    count = _number(COUNT) or (_number(SLURM_COUNT) if in_step else None)
    if count == 1:
        return None
    address = os.environ.get(ADDRESS) or None
    index = _number(INDEX)
    if index is None and in_step:
        index = _number(SLURM_INDEX)
    if address is None and count is None and index is None:
        return None
    known = {ADDRESS: address or in_step or None, COUNT: count, INDEX: index}
    missing = [name for name, value in known.items() if value is None]
    if missing or count is None or index is None:
        raise InputError(
            f"{' and '.join(missing)}: missing; several processes need {ADDRESS}=HOST:PORT, {COUNT} and {INDEX}, "
            "or srun, which sets its own"
        )
    if address is not None and not re.fullmatch(r"\S+:\d{1,5}", address):
        raise InputError(f"{ADDRESS}: got {address}, expected HOST:PORT, where process 0 can be reached")
    if not 0 <= index < count:
        raise InputError(f"{INDEX}: got {index}, expected 0 to {count - 1}, as there are {count} processes")
    return ProcessGroup(index, count, address)


def _number(variable: str) -> int | None:
    value = os.environ.get(variable)
    if not value:
        return None
    if not re.fullmatch(r"\d{1,6}", value) or (value.strip("0") == "" and variable in {COUNT, SLURM_COUNT}):
        raise InputError(f"{variable}: got {value}, expected a whole number{' above 0' if 'NUM' in variable else ''}")
    return int(value)
