"""Words for where work runs; how a batch system's jobs are described, and what becomes of them.

dask-jobqueue's own file `jobqueue.yaml` describes them. A section such as `slurm-gpu` takes from
`slurm` what it does not say itself. Jobs of a section whose name ends in `-gpu` carry the Dask resource
`GPU` and have one worker each. Dask is loaded for a section only: a wrong word is refused at once.
"""

import difflib
import getpass
import importlib
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from physics_twins.clusters.calls import ClusterError
from physics_twins.clusters.local import this_machine

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

# What lists a user's unfinished jobs, the job's number first in each line.
_LISTINGS = {
    "slurm": "squeue --noheader --user={user} --format='%i %T %r'",
    "pbs": "qstat -u {user}",
    "lsf": "bjobs -u {user}",
    "sge": "qstat -u {user}",
    "oar": "oarstat -u {user}",
    "htcondor": "condor_q -nobatch {user}",
}
BATCH_SYSTEMS = tuple(_LISTINGS)
DEFAULT_JOBS, MAX_RESUBMISSIONS = 2, 3
SUBMISSION_TIMEOUT_S, ANSWER_TIMEOUT_S = 60.0, 20.0
TICK_S, LOOK_EVERY_S = 2.0, 10.0

_WORDS = ("local", "threads", *BATCH_SYSTEMS)
_ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:\d+")
_SECTION = re.compile(rf"({'|'.join(BATCH_SYSTEMS)})-[a-z0-9][a-z0-9_-]*")
_GPU_ENDING = "-gpu"
_FILE = "~/.config/dask/jobqueue.yaml"
_FOLDERS = ("log_directory", "shared_temp_directory", "local_directory")
_TEXTS = ("memory", "walltime", "queue", "account", "project", "name", "interface", *_FOLDERS)
# What YAML takes for something else without quotes or unit, `12:00:00` for the number 43200.
_EXAMPLE = {"cores": 4, "memory": "16GB"}
_OF_SYSTEM = {"htcondor": {"disk": "20GB"}, "oar": {"memory_per_core_property_name": "memcore"}}
_KINDS = {"cores": int, "processes": int} | dict.fromkeys(_TEXTS, str)
_MEANT = {
    int: "a whole number is meant",
    str: "text is meant: write it in quotes, a size with its unit",
    list: "a list is meant: write one line '- ...' for each entry",
}
_RUNNERS = "dask_jobqueue.runner"

_log = logging.getLogger(__name__)


def check(where: str) -> None:
    """Check that `where` names a kind of cluster, without looking whether it is there.

    Raises:
        ValueError: It is no known word and no address; the nearest word is suggested.

    >>> check("slurm-gpu")
    >>> check("slrum")
    Traceback (most recent call last):
    ValueError: on = 'slrum' is no cluster; did you mean 'slurm'?
    """
    if where in _WORDS or _ADDRESS.fullmatch(where) or _SECTION.fullmatch(where):
        return
    nearest = difflib.get_close_matches(where, _WORDS, n=1)
    known = f"known are {', '.join(_WORDS)}, a section such as slurm-gpu, and tcp://host:port"
    raise ValueError(
        f"on = {where!r} is no cluster; " + (f"did you mean {nearest[0]!r}?" if nearest else known)
    )


def is_batch(where: str) -> bool:
    """Return whether `where` is a batch system or a section of its own for one, as `slurm-gpu`."""
    return where.partition("-")[0] in BATCH_SYSTEMS


def places() -> "Styler":
    """Return each value of `on` and what it is, as a table; starts and submits nothing."""
    import pandas as pd
    from dask import config

    load_jobqueue()
    described = [name for name in sorted(config.get("jobqueue")) if is_batch(name)]
    described = [name for name in described if {"cores", "memory"} <= _given(name).keys()]
    rows = [("local", this_machine())]
    here = [system for system in BATCH_SYSTEMS if not missing_commands(system)]
    for system in here:
        own = ", ".join(name for name in described if name.partition("-")[0] == system)
        missing = f"jobs not described yet: write {_FILE}, see the book's page on clusters"
        rows.append((system, f"jobs described as {own}" if own else missing))
    if absent := ", ".join(system for system in BATCH_SYSTEMS if system not in here):
        rows.append((absent, "commands not found on this machine"))
    address = "a Dask scheduler that runs already, on any machine that can be reached"
    table = pd.DataFrame([*rows, ("tcp://host:port", address)], columns=["on", "what it is"])
    left = "text-align: left"
    return table.set_index("on").style.set_table_styles([{"selector": "th, td", "props": left}])


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


def job_script(where: str, *, example: bool = False) -> str:
    """Return the script that each job of a batch system would be submitted with.

    Args:
        where: The batch system, or a section of its own.
        example: Whether values stand in for what is not described yet, and the script says so.

    Raises:
        ValueError: `where` is no batch system.
        ClusterError: The description of its jobs is missing or wrong.
    """
    if not is_batch(where):
        raise ValueError(f"{where!r} submits no jobs; batch systems are {', '.join(BATCH_SYSTEMS)}")
    check(where)
    needed = _EXAMPLE | _OF_SYSTEM.get(where.partition("-")[0], {})
    missing = {key: value for key, value in needed.items() if key not in _given(where)}
    options = describe(where, missing if example else {})
    for of_the_cluster in ("scheduler_options", "shared_temp_directory"):
        del options[of_the_cluster]
    job_class = _cluster_class(where).job_cls
    with _in_words(where):
        script = job_class("tls://<scheduler>:<port>", name="worker", **options).job_script()
    return _with_remark(script, where, missing) if example and missing else script


def start(section: str, jobs: int | None) -> Any:
    """Return a cluster whose jobs are submitted, and replaced when they die.

    Workers are spoken to by TLS, with certificates made for each cluster.

    Args:
        section: A batch system, or a section of its that begins with its name, as `slurm-gpu`.
        jobs: How many run at once; by default what `physics-twins: jobs:` says.

    Raises:
        ClusterError: Commands or the jobs' description are missing or wrong, or a job is refused.
    """
    from distributed.security import Security

    options = describe(section)
    if missing := missing_commands(section):
        commands = " and ".join(missing)
        raise ClusterError(f"{section}: {commands} not found; run this where jobs can be submitted")
    minimum, maximum = (jobs, jobs) if jobs else how_many(section)
    with _in_words(section):
        cluster = _tidy(_cluster_class(section))(security=Security.temporary(), **options)

    async def submitted() -> None:
        cluster.scale(jobs=minimum)
        await cluster

    try:
        with _in_words(section):
            cluster.sync(submitted, callback_timeout=SUBMISSION_TIMEOUT_S)
    except BaseException:
        cluster.close()
        raise
    # Replaces a job that was killed, unlike scale(n), which must not be called after it.
    cluster.adapt(minimum_jobs=minimum, maximum_jobs=maximum)
    threading.Thread(target=_watch, args=(cluster, section), daemon=True).start()
    return cluster


def describe(section: str, examples: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return how dask-jobqueue is to make the cluster of a section, as its arguments.

    `examples` stand for keys that are not given.

    Raises:
        ClusterError: There is no such section, or a key in it is unknown or wrong.
    """
    from distributed.deploy.utils import nprocesses_nthreads

    options = {**(examples or {}), **_given(section)}
    folder = str(_jobs_folder())
    if section.partition("-")[0] != "oar":  # writes into the folder where the jobs are submitted
        options.setdefault("log_directory", folder)
    options.setdefault("shared_temp_directory", folder)
    _check_keys(section, options)
    # Unless it is given as an argument, dask-jobqueue loses count of a job's several workers.
    options.setdefault("processes", nprocesses_nthreads(options.get("cores", 1))[0])
    if "name" in options:
        options["job_name"] = options.pop("name")
    options["worker_extra_args"] = _worker_arguments(section, options)
    loopback = {"dashboard_address": "127.0.0.1:0"}
    options["scheduler_options"] = loopback | (options.get("scheduler_options") or {})
    return options


def missing_commands(section: str) -> list[str]:
    """Return those commands of a batch system that are not on this machine."""
    job_class = _cluster_class(section).job_cls
    commands = (job_class.submit_command, job_class.cancel_command)
    return [command for command in commands if command and not shutil.which(command)]


def load_jobqueue() -> ModuleType:
    """Return dask-jobqueue, whose import brings its defaults into Dask's configuration.

    Its runners, of which nothing is used here, set a signal handler when they are imported: Ctrl-C
    would end the process instead of raising KeyboardInterrupt, and no other thread could import them.
    A stand-in takes their place.
    """
    if "dask_jobqueue" not in sys.modules:
        stand_in = ModuleType(_RUNNERS)
        vars(stand_in).update(Role=object, BaseRunner=object)
        sys.modules.setdefault(_RUNNERS, stand_in)
    return importlib.import_module("dask_jobqueue")


def _cluster_class(section: str) -> Any:
    system = section.partition("-")[0]
    name = "HTCondor" if system == "htcondor" else system.upper()
    return getattr(load_jobqueue(), f"{name}Cluster")


def _given(section: str) -> dict[str, Any]:
    """Return what a section says, and its batch system's section where it says nothing."""
    from dask import config

    load_jobqueue()
    described = config.get("jobqueue")
    if section not in described:
        raise ClusterError(
            f"{section}: there is no section jobqueue: {section}: in {_FILE}; "
            f"there are {', '.join(n for n in sorted(described) if is_batch(n))}"
        )
    one_each = {"processes": 1} if section.endswith(_GPU_ENDING) else {}
    return _values(described[section.partition("-")[0]]) | one_each | _values(described[section])


def _values(section: dict[str, Any] | None) -> dict[str, Any]:
    return {key.replace("-", "_"): v for key, v in (section or {}).items() if v is not None}


def _check_keys(section: str, options: dict[str, Any]) -> None:
    """Refuse keys that dask-jobqueue does not know, and what YAML has read as something else."""
    from dask import config

    defaults = config.merge(*config.defaults)["jobqueue"][section.partition("-")[0]]
    for key, value in options.items():
        name = key.replace("_", "-")
        if name not in defaults:
            nearest = difflib.get_close_matches(name, defaults, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ClusterError(f"{section}: unknown key {name!r} in {_FILE}{hint}")
        kind = list if isinstance(defaults[name], list) else _KINDS.get(key, type(value))
        if type(value) is not kind:
            told = f"is {value!r} to YAML, where {_MEANT[kind]}"
            raise ClusterError(f"{section}: {name} {told} (jobqueue: {section}: in {_FILE})")
        if key in _FOLDERS and " " in str(value):
            raise ClusterError(
                f"{section}: {name}: {value!r} has a space, which job scripts cannot take; "
                f"set {name} to another folder in {_FILE}"
            )


def _worker_arguments(section: str, options: dict[str, Any]) -> list[str]:
    arguments = [str(word) for word in options.get("worker_extra_args") or []]
    arguments.append("--no-dashboard")  # it would be open to everybody who reaches the node
    if section.endswith(_GPU_ENDING):
        if options["processes"] != 1:
            raise ClusterError(
                f"{section}: processes: {options['processes']}, must be 1 so that each worker has "
                "a GPU of its own; ask for more jobs instead"
            )
        arguments += ["--resources", "GPU=1"]
    if "--lifetime" not in arguments:
        arguments += _lifetime(options.get("walltime", ""))
    return arguments


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


def _with_remark(script: str, section: str, missing: Mapping[str, Any]) -> str:
    """Return a script that says, below its first line, which of its values are examples."""
    system = section.partition("-")[0]
    said = [
        "AN EXAMPLE. No job can be submitted until the file",
        f"{_FILE} says what fits your cluster, with queue and account:",
        "jobqueue:",
        f"  {system}:",
        *(f"    {key.replace('_', '-')}: {value}" for key, value in missing.items()),
    ]
    first, end, rest = script.partition("\n")
    return "".join([first, end, *(f"# {line}\n" for line in said), rest])


def _jobs_folder() -> Path:
    """Return the folder for the jobs' logs and certificates, which only its owner may read."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    folder = Path(state).expanduser() / "physics-twins" / "jobs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextmanager
def _in_words(section: str) -> Iterator[None]:
    """Put what dask-jobqueue or the submit command complains about into one sentence."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        said = str(error).partition("stderr:")[2] or str(error) or type(error).__name__
        complaint = " ".join(said.split()[:40])
        described = f"its jobs are described under jobqueue: {section}: in {_FILE}"
        raise ClusterError(f"{section}: {complaint} ({described})") from None


def _tidy(cluster_class: Any) -> Any:
    """Return a class of clusters that close all they opened, and keep what their jobs wait for."""
    from distributed.deploy.spec import ProcessInterface

    class Job(cluster_class.job_cls):
        async def close(self) -> None:
            await super().close()
            await ProcessInterface.close(self)  # which dask-jobqueue leaves out, and Dask asserts

    class Cluster(cluster_class):
        job_cls = Job
        waits: ClassVar[list[str]] = []

        def close(self, timeout: float | None = None) -> Any:
            closing = super().close(timeout)
            for name in ("ca_file", "cert", "key"):  # else they stay until the object is forgotten
                getattr(self, f"_job_{name}").close()
            return closing

    Cluster.__name__ = cluster_class.__name__  # by which its workers are called
    return Cluster


class Waiting(NamedTuple):
    """A job that was submitted and has no worker.

    Attributes:
        name: How Dask names it; its workers' names begin with it.
        number: The batch system's number, "" where the submission was refused.
        state: What became of it, in words.
        is_gone: Whether the batch system does not list it any more.
    """

    name: str
    number: str
    state: str
    is_gone: bool

    def __str__(self) -> str:
        return f"job {self.number}: {self.state}"


def waiting(cluster: Any) -> list[Waiting]:
    """Return a cluster's jobs without a worker; asks the batch system once, where there are any."""
    connected = list(cluster.scheduler_info.get("workers", {}).values())
    names = [f"{worker['name']}-" for worker in connected]  # of a job, or of one of its processes
    jobs = {str(name): str(job.job_id or "") for name, job in list(cluster.workers.items())}
    without = [job for job in jobs if not any(name.startswith(f"{job}-") for name in names)]
    listing = _listing(cluster.job_cls.default_config_name()) if without else ""
    silent = "submitted; the batch system does not answer"
    gone = "is no longer in the queue, and has no worker"
    found = []
    for job in without:
        line = silent if listing is None else _line(jobs[job], listing)
        found.append(Waiting(job, jobs[job], line or gone, is_gone=not line))
    return found


def wait_for_worker(cluster: Any, *, timeout_s: float) -> None:
    """Wait until the first worker of a batch system's cluster is there.

    Raises:
        ClusterError: Every job ended before its worker came, or none came in time; the message has
            the batch system's lines on the jobs and the ends of their logs.
    """
    deadline = time.monotonic() + timeout_s
    while len(jobs := waiting(cluster)) == len(cluster.workers):
        is_late = time.monotonic() > deadline
        if is_late or (jobs and all(job.is_gone for job in jobs)):
            told = f"no worker within {timeout_s:g} s" if is_late else "no worker came"
            folder = Path(cluster._job_kwargs.get("log_directory") or ".").absolute()
            logs = [log_tail(folder, job.number) for job in jobs]
            raise ClusterError("\n".join([told, *map(str, jobs), *logs]))
        time.sleep(min(TICK_S, max(0.0, deadline - time.monotonic())))


def _watch(cluster: Any, section: str) -> None:
    """Look at a cluster's jobs from time to time until it is closed."""
    n_resubmitted = 0
    while cluster.status.name == "running":
        time.sleep(LOOK_EVERY_S)
        try:
            n_resubmitted = look(cluster, section, n_resubmitted)
        except Exception:  # a cluster that closes meanwhile; the next round decides
            _log.debug("could not look at the jobs", exc_info=True)


def look(cluster: Any, section: str, n_resubmitted: int) -> int:
    """Warn where no job has a worker, and submit those again that ended without being asked to.

    Dask by itself waits without end for a job that ended before its worker came, and for one of several
    processes that was killed. What fails time after time is given up with a warning.

    Returns:
        How many times in a row jobs have been submitted again.
    """
    jobs = waiting(cluster)
    told = [str(job) for job in jobs] if len(jobs) == len(cluster.workers) else []
    if told and told != cluster.waits:
        _log.warning("%s: no worker yet: %s", section, "; ".join(told))
    cluster.waits = told
    gone = {job.name for job in jobs if job.is_gone}
    if gone and n_resubmitted < MAX_RESUBMISSIONS:
        # Adaptive scaling then submits as many new ones.
        cluster.loop.add_callback(cluster.scale_down, gone)
    elif gone and n_resubmitted == MAX_RESUBMISSIONS:
        why = f"to see why: twins cluster {section}"
        _log.warning("%s: jobs end before their workers come; %s", section, why)
    return n_resubmitted + bool(gone) if jobs else 0


def log_tail(folder: Path, number: str, n_lines: int = 15) -> str:
    """Return a job's logs in a folder, each name with the last lines.

    Args:
        folder: The jobs' `log-directory`, or the folder where they were submitted.
        number: The batch system's number of the job.
        n_lines: How many lines of each.
    """
    of_job = re.compile(rf"(?<!\d){re.escape(number.partition('.')[0])}(?!\d)")
    texts = []
    for path in sorted(folder.iterdir()) if number and folder.is_dir() else []:
        if of_job.search(path.name) and path.is_file() and path.stat().st_size:
            lines = path.read_text(errors="replace").splitlines()[-n_lines:]
            texts.append("\n".join([f"{path}:", *(f"    {line}" for line in lines)]))
    return "\n".join(texts) or f"no log of job {number} in {folder}"


def _listing(system: str) -> str | None:
    """Return what a batch system lists of this user's jobs; None where it does not answer."""
    command = shlex.split(_LISTINGS[system].format(user=getpass.getuser()))
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": ANSWER_TIMEOUT_S}
    try:
        return subprocess.run(command, check=True, **options).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None


def _line(number: str, listing: str) -> str:
    """Return the line that begins with a job's number, without it.

    >>> _line("12", "121 RUNNING None\\n12 PENDING Priority")
    'PENDING Priority'
    """
    match = re.search(rf"^\s*{re.escape(number)}(?!\d)\S*(.*)$", listing, re.MULTILINE)
    return " ".join(match[1].split()) or "listed" if number and match else ""
