"""The variables that make several processes train together, and those of Slurm that do not."""

import pytest

from fashion.backend.process_group import ALONE, ProcessGroup, from_environment
from fashion.errors import FashionError

BY_HAND = {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:8476", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
BATCH_SCRIPT = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
STEP = BATCH_SCRIPT | {"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in {*BY_HAND, *STEP}:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "group"),
    [
        ({}, None),
        (BY_HAND, ProcessGroup(1, 2, "10.0.0.1:8476")),
        (BY_HAND | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}, None),
        (BATCH_SCRIPT, None),
        (STEP, ProcessGroup(3, 4, None)),
        (STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None),  # a job of a sweep, which submitit starts
        (STEP | {"JAX_COORDINATOR_ADDRESS": "node1:80"}, ProcessGroup(3, 4, "node1:80")),
        (STEP | ALONE, None),
        (BY_HAND | ALONE, None),
    ],
)
def test_a_group_is_found_where_there_is_one(monkeypatch, variables, group):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert from_environment() == group


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"JAX_PROCESS_ID": ""}, "JAX_PROCESS_ID: missing"),
        ({"JAX_NUM_PROCESSES": ""}, "JAX_NUM_PROCESSES: missing"),
        ({"JAX_COORDINATOR_ADDRESS": ""}, "JAX_COORDINATOR_ADDRESS: missing; several processes need .*, or srun"),
        ({"JAX_COORDINATOR_ADDRESS": "node1"}, "JAX_COORDINATOR_ADDRESS: got node1, expected HOST:PORT"),
        ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES: got two, expected a whole number above 0"),
        ({"JAX_NUM_PROCESSES": "0"}, "JAX_NUM_PROCESSES: got 0, expected a whole number above 0"),
        ({"JAX_PROCESS_ID": "2"}, "JAX_PROCESS_ID: got 2, expected 0 to 1, as there are 2 processes"),
        ({"JAX_PROCESS_ID": "-1"}, "JAX_PROCESS_ID: got -1, expected a whole number$"),
    ],
)
def test_a_group_that_cannot_be_is_refused(monkeypatch, variables, error):
    for name, value in (BY_HAND | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FashionError, match=error):
        from_environment()
