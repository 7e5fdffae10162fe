"""A SLURM of one's own on this machine: real daemons with own key, ports and folder, gone at the end.

It disturbs no other SLURM and needs neither systemd nor cgroups, only root and two Debian packages:

    with PrivateSlurm() as slurm:
        subprocess.run(["srun", "hostname"], env=slurm.environment)
        with slurm.in_this_process():
            clusters.connect("slurm")
"""

import os
import platform
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from unittest import mock

import psutil

# Workers import what tests send them by its name.
_TESTS = (str(Path(__file__).parent), str(Path(__file__).with_suffix("")))

INSTALL = "apt-get install --no-install-recommends slurm-wlm munge"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
N_CPUS, MEMORY_MB, N_GPUS = 4, 8000, 2

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "squeue", "scancel", "sbatch")

# `config_overrides`: the node has as many CPUs as stand here, however many the machine has.
_SLURM_CONF = """\
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=30
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=01:00:00 State=UP
"""

# Links to /dev/null stand for the GPUs: SLURM counts them and sets CUDA_VISIBLE_DEVICES.
_GRES_CONF = "Name=gpu File={folder}/gpu[0-{last}]\n"

_JOBQUEUE_YAML = """\
jobqueue:
  slurm:
    queue: debug
    cores: 1
    processes: 1
    memory: 1500MB
    walltime: "00:10:00"
    interface: lo
    death-timeout: 10
    local-directory: {folder}/scratch
    shared-temp-directory: {folder}/scratch
    log-directory: {folder}/logs
  slurm-gpu:
    job-extra-directives: ["--gres=gpu:1"]
"""


class SlurmError(RuntimeError):
    """A SLURM that did not start; the message holds the ends of its logs."""


def why_not() -> str:
    """Return why a private SLURM cannot run here, with the line to install it; empty where it can."""
    missing = [name for name in _PROGRAMS if not _path(name)]
    if missing:
        return f"{', '.join(missing)} not found; install: {INSTALL}"
    return "" if os.geteuid() == 0 else "SLURM's daemons must be started by root"


class PrivateSlurm:
    """munged, slurmctld and slurmd in a private folder, from `with` to its end.

    Attributes:
        folder: Everything that it writes; `logs` in it has those of the jobs. Removed at the end.
        environment: Variables for a process that uses this SLURM, and Dask's description of its jobs.
    """

    def __init__(self) -> None:
        self.folder = Path()
        self.environment: dict[str, str] = {}
        self._controller_port = 0
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        reason = why_not()
        if reason:
            raise SlurmError(reason)
        with ExitStack() as undo:
            # Short and without spaces, as sockets and SLURM's own files want it.
            folder = tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp")
            self.folder = Path(undo.enter_context(folder))
            undo.callback(self._stop)
            self._start()
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._undo.close()

    def queue(self, name: str = "") -> list[str]:
        """Return the jobs that wait or run, as `<id> <state> <reason>`; those of one name, if given."""
        only = [f"--name={name}"] if name else []
        return self.command("squeue", "-h", "-o", "%i %T %r", *only).splitlines()

    def command(self, *words: str) -> str:
        """Return what a SLURM command prints.

        Raises:
            subprocess.CalledProcessError: It failed.
        """
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout.strip()

    def wait_until_empty(self, timeout_s: float, name: str = "") -> float:
        """Wait until no job (of one name, if given) waits or runs; return how long that took, in s.

        Raises:
            TimeoutError: There are jobs left.
        """
        begun = time.monotonic()
        while jobs := self.queue(name):
            if time.monotonic() - begun > timeout_s:
                raise TimeoutError(f"jobs left after {timeout_s:g} s: {', '.join(jobs)}")
            time.sleep(0.1)
        return time.monotonic() - begun

    @contextmanager
    def in_this_process(self) -> Iterator[Self]:
        """Let this process use this SLURM: its variables and Dask's configuration, until the end."""
        import yaml
        from dask import config

        from physics_twins.clusters.batch import load_jobqueue

        load_jobqueue()

        described = yaml.safe_load((self.folder / "dask" / "jobqueue.yaml").read_text())
        merged = {"jobqueue": config.merge(config.get("jobqueue"), described["jobqueue"])}
        with (
            mock.patch.dict(os.environ, self.environment),
            mock.patch.dict(config.config, merged),
        ):
            yield self

    def _start(self) -> None:
        self.folder.chmod(0o755)  # munged insists
        for name in ("state", "spool", "scratch", "logs", "dask"):
            (self.folder / name).mkdir()
        self._write_configuration()
        self._launch("munged", "--force", "--foreground", *self._munge_files())
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged does not answer")
        configuration = str(self.folder / "slurm.conf")
        self._launch("slurmctld", "-D", "-i", "-f", configuration)
        # A command that finds no controller sleeps for a second before it asks again.
        self._wait(self._controller_listens, "slurmctld does not listen")
        self._launch("slurmd", "-D", "-f", configuration)
        self._wait(self._is_idle, "the node is not idle")

    def _write_configuration(self) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        for number in range(N_GPUS):
            (self.folder / f"gpu{number}").symlink_to("/dev/null")
        self._controller_port, node_port = _free_ports(2)
        facts = {
            "folder": self.folder,
            "host": platform.node().partition(".")[0],
            "controller_port": self._controller_port,
            "node_port": node_port,
            "cpus": N_CPUS,
            "memory_mb": MEMORY_MB,
            "gpus": N_GPUS,
            "last": N_GPUS - 1,
        }
        texts = {
            "slurm.conf": _SLURM_CONF,
            "gres.conf": _GRES_CONF,
            "dask/jobqueue.yaml": _JOBQUEUE_YAML,
        }
        for name, text in texts.items():
            (self.folder / name).write_text(text.format(**facts))
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "DASK_CONFIG": str(self.folder / "dask"),
            # Jobs find the tests' modules; a worker that cannot import its task's module breaks down.
            "PYTHONPATH": os.pathsep.join([*_TESTS, *_python_path()]),
        }

    def _munge_files(self) -> list[str]:
        names = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
        names |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        return [f"--{option}={self.folder / name}" for option, name in names.items()]

    def _launch(self, program: str, *options: str) -> None:
        with (self.folder / f"{program}.out").open("wb") as output:
            daemon = subprocess.Popen(
                [_path(program) or program, *options],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests; the daemons are stopped in order
            )
        self._daemons.append(daemon)

    def _controller_listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._controller_port), 1.0):
            return True
        return False

    def _is_idle(self) -> bool:
        with suppress(subprocess.CalledProcessError):
            return self.command("sinfo", "-h", "-o", "%T") == "idle"
        return False

    def _wait(self, is_there: Any, complaint: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_there():
            dead = [d.args for d in self._daemons if d.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise SlurmError(f"{complaint}; ended: {dead or 'none'}\n{self._logs()}")
            time.sleep(0.02)

    def _logs(self) -> str:
        found = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-600:]}" for path in found)

    def _stop(self) -> None:
        """End the daemons, so that nothing new starts, then the jobs."""
        while self._daemons:
            _end(self._daemons.pop())
        while left := self._job_processes():
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, STOP_TIMEOUT_S)

    def _job_processes(self) -> list[psutil.Process]:
        """Return the processes of jobs, and those that watch them, that still run."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and self._is_of_a_job(process):
                    found.append(process)
        return found

    def _is_of_a_job(self, process: psutil.Process) -> bool:
        if process.name() == "slurmstepd":  # overwrites its variables; works in slurmd's folder
            return Path(process.cwd()) == self.folder
        variables = process.environ()
        ours = variables.get("SLURM_CONF") == self.environment["SLURM_CONF"]
        return ours and "SLURM_JOB_ID" in variables


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    """Ask a daemon to end; where it does not, end it and whatever it started."""
    daemon.terminate()
    try:
        daemon.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, 9)
        daemon.wait()


def _path(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _python_path() -> list[str]:
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
