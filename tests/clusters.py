"""Real clusters for the tests of sweeps: Slurm and a two-node Ray on this machine, on free ports, ended with the test.

`make services` installs Slurm on Debian; Ray comes with the environment. Without Slurm its test is skipped, with the
reason; on CI it fails.
"""

import contextlib
import os
import platform
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services import folder_open_to_all, free_port, missing

STARTS_WITHIN = 60.0

SLURM = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={control_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=tests Nodes={host} Default=YES State=UP
"""


@pytest.fixture
def slurm(starts_processes) -> Iterator[dict[str, str]]:
    """Environment variables for Slurm's commands, which point to a cluster of one machine."""
    programs = {name: shutil.which(name) or missing(name) for name in ("munged", "slurmctld", "slurmd", "sinfo")}
    if os.geteuid() != 0:
        pytest.skip("slurmd runs jobs as their owners, which takes root")
    host = platform.node().partition(".")[0]
    with folder_open_to_all() as folder, contextlib.ExitStack() as stack:
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (folder / "munge.key").chmod(0o400)
        configuration = folder / "slurm.conf"
        configuration.write_text(
            SLURM.format(host=host, folder=folder, control_port=free_port(), node_port=free_port())
        )
        environment = {**os.environ, "SLURM_CONF": str(configuration)}
        places = [f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("pid-file", "seed-file", "log-file")]
        munge = ["--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key"]
        stack.enter_context(_running([programs["munged"], *munge, *places], folder, environment))
        _wait_for((folder / "munge.socket").exists, folder)
        stack.enter_context(_running([programs["slurmctld"], "-D"], folder, environment))
        stack.enter_context(_running([programs["slurmd"], "-D", "-N", host], folder, environment))

        def idle() -> bool:
            asked = [programs["sinfo"], "--noheader", "--format=%T"]
            return "idle" in subprocess.run(asked, capture_output=True, text=True, env=environment).stdout

        _wait_for(idle, folder)
        yield {"SLURM_CONF": str(configuration)}


@pytest.fixture
def ray_cluster(starts_processes, monkeypatch) -> Iterator[str]:
    """The address of a Ray cluster of two nodes of one core each: processes of their own, as on two machines."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster  # after the environment that it reads, and not for every test

    node = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "gcs_server_port": free_port()})
    try:
        cluster.add_node(**node)
        cluster.wait_for_nodes(STARTS_WITHIN)
        yield cluster.address
    finally:
        cluster.shutdown()


@contextlib.contextmanager
def _running(command: list, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a daemon, and all that it starts, until the block ends."""
    with (folder / "log").open("ab") as log:
        daemon = subprocess.Popen(
            [str(part) for part in command], stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGTERM)
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()


def _wait_for(reached: Callable[[], bool], folder: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while not reached():
        if time.monotonic() > until:
            pytest.fail(f"the cluster did not start: {(folder / 'log').read_text(errors='replace')[-3000:]}")
        time.sleep(0.1)
