import os
import re
import shutil
import subprocess
import time

import psutil
import pytest
import slurm as private
from slurm import PrivateSlurm, SlurmError


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_job_runs_and_two_of_them_at_the_same_time_know_nothing_of_each_other(slurm):
    with PrivateSlurm() as other:
        assert other.folder != slurm.folder
        other.command("sbatch", "--hold", "--output=/dev/null", "--wrap", "true")
        assert len(other.queue()) == 1
        assert slurm.queue() == []
        assert slurm.command("srun", "echo", "done") == "done"


def test_each_job_that_asks_for_a_gpu_is_given_one_of_its_own(slurm):
    command = ("srun", "--gres=gpu:1", "--mem=100", "sh", "-c", "sleep 0.3; echo $CUDA_VISIBLE_DEVICES")
    jobs = [subprocess.Popen(command, env=slurm.environment, stdout=subprocess.PIPE) for _ in range(2)]
    assert sorted(job.communicate()[0].strip() for job in jobs) == [b"0", b"1"]


def test_a_job_that_ignores_signals_does_not_outlive_its_slurm(tmp_path):
    pid = tmp_path / "pid"
    with PrivateSlurm() as own:
        script = f"trap '' TERM; echo $$ > {pid}.new; mv {pid}.new {pid}; while true; do sleep 1; done"
        own.command("sbatch", "--output=/dev/null", "--wrap", script)
        while not pid.exists():
            time.sleep(0.02)
        job, daemons = int(pid.read_text()), [daemon.pid for daemon in own._daemons]
        assert alive(job)
    assert not own.folder.exists()
    assert not any(map(alive, [job, *daemons]))


def test_daemons_that_do_not_start_leave_nothing_behind(monkeypatch):
    own = PrivateSlurm()
    monkeypatch.setattr(private, "_SLURM_CONF", private._SLURM_CONF + "NoSuchKey=1\n")
    with pytest.raises(SlurmError, match=r"(?s)slurmctld.*NoSuchKey"), own:
        pass
    assert not own.folder.exists()
    assert own._daemons == []


def test_what_is_missing_is_named_with_the_line_to_install_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path: None if name == "munged" else name)
    assert private.why_not() == f"munged not found; install: {private.INSTALL}"


def test_who_is_not_root_is_told(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path: name)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "by root" in private.why_not()


def test_the_script_that_checks_changes_installs_the_packages(request):
    script = (request.config.rootpath / ".ci" / "run").read_text()
    packages = re.search(r"PACKAGES=\((.*?)\n\)", script, re.DOTALL)
    assert packages
    assert set(private.INSTALL.split()[3:]) <= set(packages[1].split())
