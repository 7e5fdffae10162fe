"""A run of openQ*D as a job of a real SLURM; a script stands for the program."""

import time

from physics_twins.lattice import openqxd
from physics_twins.lattice.openqxd_parameters import OpenQxDParameters

PROGRAM = """#!/bin/sh
test -f "$2" && echo "$@" > log/seen.new && mv log/seen.new log/seen
"""


def test_a_run_is_submitted_with_the_clusters_settings_where_the_program_is(slurm, tmp_path):
    program = tmp_path / "ym1"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    with slurm.in_this_process():
        number = openqxd.submit(OpenQxDParameters(binary=str(program)), tmp_path / "run")
        assert number.isdecimal()
        seen = tmp_path / "run" / "log" / "seen"
        deadline = time.monotonic() + 60
        while not seen.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    assert seen.read_text().split() == ["-i", "run.in", "-noloc"]
    assert "#SBATCH -p debug" in (tmp_path / "run" / "run.sh").read_text()
