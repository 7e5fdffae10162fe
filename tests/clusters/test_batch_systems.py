"""What batch systems are asked for: the book's examples against each system's own directives."""

import re
import shutil
import subprocess
import sys
from unittest import mock

import pytest
import yaml
from dask import config
from sources import ROOT

from physics_twins import clusters
from physics_twins.clusters import ClusterError, batch

PAGE = (ROOT / "book" / "clusters.md").read_text()
EXAMPLES = [
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(jobqueue:.*?)```", PAGE, re.DOTALL)
]

# As the manuals of sbatch, qsub, bsub, oarsub and condor_submit have them. 32 GB are 29.8 GiB.
ASKED = {
    "slurm": [
        "#SBATCH -p short",
        "#SBATCH -A my-project",
        "--cpus-per-task=8",
        "--mem=30G",
        "-t 02:00:00",
    ],
    "slurm-gpu": [
        "#SBATCH -p gpu",
        "#SBATCH -A my-project",
        "--cpus-per-task=4",
        "#SBATCH --gres=gpu:1",
    ],
    "pbs": ["#PBS -q workq", "#PBS -l select=1:ncpus=8:mem=30GB", "#PBS -l walltime=02:00:00"],
    "pbs-gpu": ["#PBS -q gpu", "#PBS -A my-project", "#PBS -l select=1:ncpus=4:mem=16GB:ngpus=1"],
    "lsf": ["#BSUB -q normal", "#BSUB -n 8", "#BSUB -M 32000", "#BSUB -W 02:00", "span[hosts=1]"],
    "lsf-gpu": ["#BSUB -q gpu", "#BSUB -n 4", "#BSUB -M 16000", '#BSUB -gpu "num=1"'],
    "sge": [
        "#$ -q all.q",
        "#$ -P my-project",
        "#$ -pe smp 8",
        "#$ -l h_vmem=4G",
        "#$ -l h_rt=02:00:00",
    ],
    "sge-gpu": ["#$ -q gpu.q", "#$ -pe smp 4", "#$ -l gpu=1", "#$ -l h_rt=02:00:00"],
    # 32 GB of 8 cores are 3815 MiB each.
    "oar": [
        "#OAR -l /nodes=1/core=8,walltime=02:00:00",
        "#OAR -p memcore>=3815",
        "--project my-project",
    ],
    "oar-gpu": ["#OAR -l /nodes=1/gpu=1,walltime=02:00:00", "#OAR -q default"],
    "htcondor": [
        "DaskWorkerCores = 8",
        "DaskWorkerMemory = 32000000000",
        "accounting_group = my-project",
    ],
    "htcondor-gpu": ["DaskWorkerCores = 4", "request_gpus = 1", "RequestMemory"],
}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def described():
    """Let Dask's configuration describe jobs as a file `jobqueue.yaml` would."""
    batch.load_jobqueue()  # brings its defaults
    with mock.patch.dict(config.config):
        yield lambda **sections: config.config.update(
            config.merge(
                config.config, {"jobqueue": {k.replace("_", "-"): v for k, v in sections.items()}}
            )
        )


@pytest.fixture
def book(described):
    for example in EXAMPLES:
        described(**example["jobqueue"])


@pytest.mark.parametrize("section", ASKED)
def test_the_books_example_asks_for_what_it_says_in_the_systems_own_words(book, section):
    script = clusters.job_script(section)
    assert [asked for asked in ASKED[section] if asked not in script] == []


@pytest.mark.parametrize("section", ASKED)
def test_workers_of_gpu_sections_carry_the_resource_and_are_one_per_job(book, section):
    script = clusters.job_script(section)
    assert ("--resources GPU=1" in script) == section.endswith("-gpu")
    assert ("--nworkers" in script) != section.endswith("-gpu")


@pytest.mark.parametrize("section", ASKED)
def test_no_worker_opens_a_dashboard_and_all_end_before_their_walltime(book, section):
    script = clusters.job_script(section)
    assert "--no-dashboard" in script
    assert script.count("--lifetime ") == 1


def test_ctrl_c_still_interrupts_once_dask_jobqueue_is_there_and_any_thread_may_bring_it():
    code = """
import signal, sys, threading
from physics_twins.clusters import batch
original, seen = signal.signal, []
class Watch:
    def find_spec(name, path=None, target=None):
        if name.startswith("dask_jobqueue"):
            seen.append(signal.signal is original)
sys.meta_path.insert(0, Watch)
threading.Thread(target=batch.load_jobqueue).start()
[thread.join() for thread in threading.enumerate() if thread is not threading.current_thread()]
batch.load_jobqueue().SLURMCluster
assert seen and all(seen), "signal.signal was replaced for the whole process"
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_batch_system_has_an_example_for_cpus_and_for_gpus():
    shown = {name for example in EXAMPLES for name in example["jobqueue"]}
    assert shown == set(ASKED) == {n + e for n in clusters.BATCH_SYSTEMS for e in ("", "-gpu")}


def test_sections_that_describe_jobs_are_listed(book, monkeypatch):
    monkeypatch.setattr(batch, "missing_commands", lambda system: [])
    told = clusters.places().data["what it is"]
    for name in clusters.BATCH_SYSTEMS:
        assert told[name] == f"jobs described as {name}, {name}-gpu"


def test_a_section_with_several_gpu_workers_in_one_job_is_refused(described):
    described(slurm={"cores": 8, "memory": "8GB"}, slurm_gpu={"processes": 4})
    with pytest.raises(ClusterError, match=r"slurm-gpu: processes: 4, must be 1 .* GPU"):
        clusters.job_script("slurm-gpu")


def test_a_misspelt_key_is_refused_with_the_nearest_one(described):
    described(slurm={"cores": 8, "memory": "8GB", "wall-tme": "01:00:00"})
    with pytest.raises(ClusterError, match=r"slurm: unknown key 'wall-tme' .* did you mean 'walltime'"):
        clusters.job_script("slurm")


def test_a_section_that_is_not_there_is_refused_with_those_that_are(book):
    with pytest.raises(ClusterError, match=r"there is no section jobqueue: slurm-big: .* slurm-gpu"):
        clusters.job_script("slurm-big")


def test_what_dask_jobqueue_misses_is_told_in_one_sentence(described):
    described(htcondor={"cores": 1, "memory": "1GB"})
    with pytest.raises(
        ClusterError, match=r"htcondor: .* disk.* described under jobqueue: htcondor: in"
    ):
        clusters.job_script("htcondor")


@pytest.mark.parametrize("system", clusters.BATCH_SYSTEMS)
def test_an_example_says_in_the_script_what_is_not_described_and_that_is_enough(described, system):
    described()
    with pytest.raises(ClusterError):
        clusters.job_script(system)
    first, *lines = clusters.job_script(system, example=True).splitlines()
    remark = [line[2:] for line in lines if line.startswith("# ")]
    assert first.startswith("#!")
    assert "EXAMPLE" in remark[0]
    described(**yaml.safe_load("\n".join(remark[2:]))["jobqueue"])
    assert "EXAMPLE" not in (script := clusters.job_script(system, example=True))
    assert script == clusters.job_script(system)


def test_a_folder_with_a_space_is_refused(described):
    described(slurm={"cores": 1, "memory": "1GB", "log-directory": "/home/a b"})
    with pytest.raises(ClusterError, match=r"log-directory: '/home/a b' has a space"):
        clusters.job_script("slurm")


def test_logs_and_certificates_go_into_a_folder_of_their_owner(described, tmp_path):
    described(slurm={"cores": 1, "memory": "1GB"})
    folder = tmp_path / "physics-twins" / "jobs"
    assert f"#SBATCH -o {folder}/" in clusters.job_script("slurm")
    assert folder.stat().st_mode & 0o077 == 0


def test_workers_are_told_to_speak_tls(described):
    described(slurm={"cores": 1, "memory": "1GB"})
    assert "tls://" in clusters.job_script("slurm")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, (2, 2)),
        (5, (5, 5)),
        ({"minimum": 1, "maximum": 20}, (1, 20)),
        ({"maximum": 3}, (0, 3)),
        ({"slurm": 10, "slurm-gpu": {"minimum": 0, "maximum": 2}}, (10, 10)),
        ({"pbs": 4}, (2, 2)),
    ],
)
def test_the_number_of_jobs_is_read_from_dasks_configuration(given, expected):
    with config.set({} if given is None else {"physics-twins.jobs": given}):
        assert batch.how_many("slurm") == expected


@pytest.mark.parametrize(
    "given", [0, -1, "two", 2.5, True, {"minimum": 3, "maximum": 2}, {"minimum": 1}]
)
def test_a_wrong_number_of_jobs_is_refused(given):
    with (
        config.set({"physics-twins.jobs": given}),
        pytest.raises(ClusterError, match=r"jobs: .*expected"),
    ):
        batch.how_many("slurm")


@pytest.mark.parametrize(
    ("system", "commands"),
    [
        ("slurm", "sbatch and scancel"),
        ("pbs", "qsub and qdel"),
        ("lsf", "bsub and bkill"),
        ("sge", "qsub and qdel"),
        ("oar", "oarsub and oardel"),
        ("htcondor", "condor_submit and condor_rm"),
    ],
)
def test_missing_commands_are_named(book, monkeypatch, system, commands):
    monkeypatch.setattr(shutil, "which", lambda command: None)
    for section in (system, f"{system}-gpu"):
        with pytest.raises(ClusterError, match=f"^{section}: {commands} not found"):
            clusters.connect(section)


@pytest.mark.parametrize("walltime", ["00:10:00", "01:00:00", "1-00:00:00", "72:00:00"])
def test_no_worker_outlives_its_walltime_even_at_the_end_of_its_stagger(walltime):
    words = batch._lifetime(walltime)
    lifetime_s, stagger_s = (float(word.rstrip("s")) for word in words[1::2])
    days, _, clock = walltime.rpartition("-")
    hours, minutes, seconds = map(int, clock.split(":"))
    walltime_s = (int(days or 0) * 24 + hours) * 3600 + minutes * 60 + seconds
    assert 0.8 * walltime_s <= lifetime_s - stagger_s
    assert lifetime_s + stagger_s <= walltime_s - 60


@pytest.mark.parametrize("walltime", ["", "30:00", "120", "1-00", "INFINITE"])
def test_a_walltime_whose_meaning_differs_between_systems_sets_no_lifetime(walltime):
    assert batch._lifetime(walltime) == []


def slurm_with(line):
    """Dask's configuration with one line of a file changed."""
    batch.load_jobqueue()  # brings its defaults
    given = {"cores": 8, "memory": "24GB"} | yaml.safe_load(line)
    return config.set({f"jobqueue.slurm.{key}": value for key, value in given.items()})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("walltime: 12:00:00", "walltime is 43200 to YAML, where text is meant: write it in quotes"),
        ("walltime: 12:30", "walltime is 750 to YAML, where text is meant"),
        (
            "job-extra-directives: --exclusive",
            "job-extra-directives is '--exclusive' to YAML, where a list",
        ),
        (
            "worker-extra-args: --lifetime 1h",
            "worker-extra-args is '--lifetime 1h' to YAML, where a list",
        ),
        ("job-script-prologue: module load python", "job-script-prologue is 'module load python'"),
        ("queue: on", "queue is True to YAML, where text is meant"),
        ("account: 0123", "account is 83 to YAML, where text is meant"),
        (
            "memory: 24",
            "memory is 24 to YAML, where text is meant: write it in quotes, a size with its unit",
        ),
        ("cores: 8.5", "cores is 8.5 to YAML, where a whole number is meant"),
        ("processes: yes", "processes is True to YAML, where a whole number is meant"),
    ],
)
def test_what_yaml_has_mistaken_is_refused_by_its_key(line, told):
    with slurm_with(line), pytest.raises(ClusterError, match=re.escape(told)) as refused:
        clusters.job_script("slurm")
    assert str(refused.value).startswith("slurm: ")
    assert "\n" not in str(refused.value)


def test_a_walltime_in_quotes_keeps_its_lifetime():
    with slurm_with("walltime: '12:00:00'"):
        script = clusters.job_script("slurm")
    assert "-t 12:00:00" in script
    assert "--lifetime 42300s" in script
