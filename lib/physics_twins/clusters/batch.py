"""Workers as jobs of a batch system, described in dask-jobqueue's own file `jobqueue.yaml`.

A section such as `slurm-gpu` takes from `slurm` what it does not say itself. Jobs of a section whose
name ends in `-gpu` carry the Dask resource `GPU` and have one worker each.
"""

import difflib
import importlib
import inspect
import os
import re
import shutil
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from physics_twins.clusters.jobs import Watch, telling
from physics_twins.clusters.names import ClusterError, is_batch

DEFAULT_JOBS = 2
SUBMISSION_TIMEOUT_S = 60.0
GPU_ENDING = "-gpu"
DESCRIPTION = "~/.config/dask/jobqueue.yaml"

_CLASSES = {"htcondor": "HTCondorCluster"}
# Of a cluster rather than of each of its jobs.
_OF_THE_CLUSTER = ("scheduler_options", "shared_temp_directory")
# What dask-jobqueue gives to each job by itself.
_NOT_DESCRIBED = {"self", "scheduler", "security", "protocol", "config_name", "job_name"}
_LOOPBACK = "127.0.0.1"
_RUNNERS = "dask_jobqueue.runner"
_ONE_AT_A_TIME = threading.Lock()


def load_jobqueue() -> ModuleType:
    """Return dask-jobqueue, whose import brings its defaults into Dask's configuration.

    Its runners, of which nothing is used here, set a signal handler when they are imported: Ctrl-C
    would end the process instead of raising KeyboardInterrupt, and no other thread could import them.
    A stand-in takes their place meanwhile.
    """
    with _ONE_AT_A_TIME:
        if "dask_jobqueue" not in sys.modules:
            stand_in = ModuleType(_RUNNERS)
            vars(stand_in).update(Role=object, BaseRunner=object)
            sys.modules[_RUNNERS] = stand_in
            try:
                importlib.import_module("dask_jobqueue")
            finally:
                del sys.modules[_RUNNERS]
    return sys.modules["dask_jobqueue"]


def sections() -> list[str]:
    """Return the sections of Dask's configuration that describe jobs: those with cores and memory."""
    from dask import config

    load_jobqueue()
    known = [name for name in config.get("jobqueue") if is_batch(name)]
    return sorted(name for name in known if {"cores", "memory"} <= _given(name).keys())


def missing_commands(section: str) -> list[str]:
    """Return those commands of a batch system that are not on this machine."""
    job_class = _cluster_class(section).job_cls
    commands = (job_class.submit_command, job_class.cancel_command)
    return [command for command in commands if command and not shutil.which(command)]


def start(section: str, jobs: int | None) -> Any:
    """Return a cluster whose jobs are submitted, and replaced when they die.

    Args:
        section: A batch system, or a section of its that begins with its name, as `slurm-gpu`.
        jobs: How many run at once; by default what `physics-twins: jobs:` says.

    Raises:
        ClusterError: Commands or the jobs' description are missing or wrong.
    """
    options = describe(section)
    if missing := missing_commands(section):
        commands = " and ".join(missing)
        raise ClusterError(f"{section}: {commands} not found; run this where jobs can be submitted")
    minimum, maximum = (jobs, jobs) if jobs else how_many(section)
    cluster_class = telling(_cluster_class(section))
    cluster = _complained(section, lambda: cluster_class(**options, **_encryption()))
    try:
        cluster.scale(jobs=minimum)
        _wait_for_submission(section, cluster)
    except BaseException:
        cluster.close()
        raise
    # Replaces a job that was killed, unlike scale(n), which must not be called after it.
    cluster.adapt(minimum_jobs=minimum, maximum_jobs=maximum)
    Watch(cluster, section).start()
    return cluster


def job_script(section: str) -> str:
    """Return the script that each job would be submitted with.

    Raises:
        ClusterError: The jobs' description is missing or wrong.
    """
    options = {k: v for k, v in describe(section).items() if k not in _OF_THE_CLUSTER}
    job_class = _cluster_class(section).job_cls
    address = "tls://<scheduler>:<port>" if is_encrypted() else "tcp://<scheduler>:<port>"
    return _complained(section, lambda: job_class(address, name="worker", **options)).job_script()


def describe(section: str) -> dict[str, Any]:
    """Return how dask-jobqueue is to make the cluster of a section, as its arguments.

    Raises:
        ClusterError: There is no such section, or a key in it is unknown or wrong.
    """
    from distributed.deploy.utils import nprocesses_nthreads

    options = _given(section)
    _check_keys(section, options)
    _check_kinds(section, options)
    if not {"cores", "memory"} <= options.keys():
        raise ClusterError(
            f"{section}: its jobs are not described: set cores, memory and the like under "
            f"jobqueue: {section}: in {DESCRIPTION}, as in cores: 8 and memory: 24GB"
        )
    # Unless it is given as an argument, dask-jobqueue loses count of a job's several workers.
    options.setdefault("processes", nprocesses_nthreads(options["cores"])[0])
    if "name" in options:
        options["job_name"] = options.pop("name")
    options["worker_extra_args"] = _worker_arguments(section, options)
    folder = jobs_folder()
    if section.partition("-")[0] != "oar":  # writes into the folder where the jobs are submitted
        options.setdefault("log_directory", str(folder))
    options.setdefault("shared_temp_directory", str(folder))
    options["scheduler_options"] = {
        "dashboard_address": f"{_LOOPBACK}:0",
        **(options.get("scheduler_options") or {}),
    }
    _check_spaces(section, options)
    return options


def how_many(section: str) -> tuple[int, int]:
    """Return the least and the largest number of jobs that `physics-twins: jobs:` asks for.

    It is a number, or `{minimum: 1, maximum: 20}`, or has one of these for each section.

    Raises:
        ClusterError: It is none of these.
    """
    from dask import config

    given = config.get("physics-twins.jobs", DEFAULT_JOBS)
    if isinstance(given, dict) and not given.keys() & {"minimum", "maximum"}:
        given = given.get(section, DEFAULT_JOBS)
    limits = given if isinstance(given, dict) else {"minimum": given, "maximum": given}
    low, high = limits.get("minimum", 0), limits.get("maximum")
    if type(low) is not int or type(high) is not int or not 0 <= low <= high or high < 1:
        raise ClusterError(
            f"physics-twins: jobs: {given!r} for {section}: expected a whole number of 1 or more, or "
            "{minimum: 0 or more, maximum: as many or more}"
        )
    return low, high


def is_encrypted() -> bool:
    """Return whether workers are spoken to by TLS, with certificates made for each cluster."""
    from dask import config

    return bool(config.get("physics-twins.tls", True))


def jobs_folder() -> Path:
    """Return the folder for the jobs' logs and certificates, which only its owner may read."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    folder = Path(state).expanduser() / "physics-twins" / "jobs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _wait_for_submission(section: str, cluster: Any) -> None:
    deadline = time.monotonic() + SUBMISSION_TIMEOUT_S
    while time.monotonic() < deadline:
        jobs = list(cluster.workers.values())
        if refused := next((job.refused for job in jobs if job.refused), ""):
            raise ClusterError(
                f"{section}: {cluster.job_cls.submit_command} refused the job: {refused}"
            )
        if len(jobs) == len(cluster.worker_spec) and all(job.job_id for job in jobs):
            return
        time.sleep(0.02)


def _encryption() -> dict[str, Any]:
    from distributed.security import Security

    return {"security": Security.temporary()} if is_encrypted() else {}


def _worker_arguments(section: str, options: dict[str, Any]) -> list[str]:
    given = [str(word) for word in options.get("worker_extra_args") or []]
    added = ["--no-dashboard"]  # it would be open to everybody who reaches the node
    if section.endswith(GPU_ENDING):
        if options["processes"] != 1:
            raise ClusterError(
                f"{section}: processes: {options['processes']}, must be 1 so that each worker has "
                "a GPU of its own; ask for more jobs instead"
            )
        added += ["--resources", "GPU=1"]
    if "--lifetime" not in given:
        added += _lifetime(str(options.get("walltime", "")))
    return given + added


def _lifetime(walltime: str) -> list[str]:
    """Return arguments that end a worker in good time before its job's walltime.

    What it holds then moves to other workers. They end at different times, so that there are others.

    >>> _lifetime("01:00:00")
    ['--lifetime', '3060s', '--lifetime-stagger', '180s']
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", walltime)
    if not match:  # systems differ in what two numbers mean
        return []
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    walltime_s = ((24 * days + hours) * 60 + minutes) * 60 + seconds
    stagger_s = min(walltime_s // 20, 300)
    lifetime_s = walltime_s - 3 * stagger_s
    return ["--lifetime", f"{lifetime_s}s", "--lifetime-stagger", f"{stagger_s}s"]


def _given(section: str) -> dict[str, Any]:
    """Return what a section says, and its batch system's section where it says nothing."""
    from dask import config

    load_jobqueue()
    system = section.partition("-")[0]
    described = config.get("jobqueue")
    if section not in described:
        raise ClusterError(
            f"{section}: there is no section jobqueue: {section}: in {DESCRIPTION}; "
            f"there are {', '.join(n for n in sorted(described) if is_batch(n))}"
        )
    both = _values(described[system])
    if section != system:
        if section.endswith(GPU_ENDING):
            both["processes"] = 1
        both |= _values(described[section])
    return both


def _values(section: dict[str, Any] | None) -> dict[str, Any]:
    return {key.replace("-", "_"): v for key, v in (section or {}).items() if v is not None}


def _check_keys(section: str, options: dict[str, Any]) -> None:
    known = set(_OF_THE_CLUSTER)
    for each in inspect.getmro(_cluster_class(section).job_cls):
        parameters = inspect.signature(each.__init__).parameters.values()
        known |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    known -= _NOT_DESCRIBED
    for key in options:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {nearest[0].replace('_', '-')!r}?" if nearest else ""
            raise ClusterError(
                f"{section}: unknown key {key.replace('_', '-')!r} in {DESCRIPTION}{hint}"
            )


def _check_kinds(section: str, options: dict[str, Any]) -> None:
    """Refuse what YAML has read as something else than what was meant."""
    lists = {key for key, value in _defaults(section).items() if isinstance(value, list)}
    for key, value in options.items():
        wrong = ""
        if key in lists and not isinstance(value, list):
            wrong = f"is {value!r}, where a list is meant: write one line '- ...' for each entry"
        elif key == "walltime" and not isinstance(value, str):
            wrong = f"is the number {value!r}, as YAML reads {_clock(value)} without quotes: write them"
        elif key in ("cores", "processes") and (isinstance(value, bool) or not isinstance(value, int)):
            wrong = f"is {value!r}, where a whole number is meant"
        elif key == "memory" and not isinstance(value, str):
            wrong = f"is {value!r}, without a unit: write it as in 24GB"
        elif key in _TEXTS and not isinstance(value, str):
            wrong = f"is {value!r} to YAML, where text is meant: write it in quotes"
        if wrong:
            name = key.replace("_", "-")
            raise ClusterError(f"{section}: {name} {wrong} (jobqueue: {section}: in {DESCRIPTION})")


# What YAML may take for a truth value, a number or a date.
_TEXTS = ("queue", "account", "project", "name", "interface", "local_directory", "log_directory")


def _clock(value: Any) -> str:
    """Return the time of day that YAML has turned into a number."""
    if isinstance(value, bool) or not isinstance(value, int):
        return "some times"
    minutes, seconds = divmod(value, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}"


def _defaults(section: str) -> dict[str, Any]:
    """Return dask-jobqueue's own values of a batch system's keys."""
    from dask import config

    system = section.partition("-")[0]
    found: dict[str, Any] = {}
    for each in config.defaults:
        own = (each.get("jobqueue") or {}).get(system) or {}
        found |= {key.replace("-", "_"): value for key, value in own.items()}
    return found


def _check_spaces(section: str, options: dict[str, Any]) -> None:
    for key in ("log_directory", "shared_temp_directory", "local_directory"):
        if " " in str(options.get(key, "")):
            name = key.replace("_", "-")
            raise ClusterError(
                f"{section}: {name}: {options[key]!r} has a space, which job scripts cannot take; "
                f"set {name} to another folder in {DESCRIPTION}"
            )


def _cluster_class(section: str) -> Any:
    system = section.partition("-")[0]
    return getattr(load_jobqueue(), _CLASSES.get(system, system.upper() + "Cluster"))


def _complained(section: str, make: Any) -> Any:
    """Return `make()`, with dask-jobqueue's complaint about its configuration in one sentence."""
    try:
        return make()
    except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        complaint = " ".join(str(error).split()[:40])
        raise ClusterError(
            f"{section}: its jobs are not well described under jobqueue: {section}: in {DESCRIPTION}: "
            f"{complaint}"
        ) from None
