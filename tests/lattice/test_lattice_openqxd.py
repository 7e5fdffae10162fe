"""openQ*D's files: written as its documentation asks, and believed only after a look."""

import struct

import numpy as np
import pytest
from typer.testing import CliRunner

from physics_twins import clusters
from physics_twins.cli.__main__ import app
from physics_twins.clusters.batch import load_jobqueue
from physics_twins.lattice import openqxd
from physics_twins.lattice.calibrate import calibrate
from physics_twins.lattice.errors import pyerrors
from physics_twins.lattice.formats.configuration import ConfigurationError
from physics_twins.lattice.openqxd_parameters import OpenQxDParameters
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.parameters import ParameterError

RUN = OpenQxDParameters(name="Snoopy137", n_cstar=3, n_processes=8, n_thermal=64, n_trajectories=640)
# Sections and keys as the README of ym1 lists them, with values of its own.
EXAMPLE = """
[Run name]
name         Snoopy137             # Run name

[Directories]
log_dir      ../data/ym1/log
dat_dir      ../data/ym1/dat
loc_dir      /ndata/ym1/cnfg
cnfg_dir     /data/ym1/cnfg

[Boundary conditions]
type         3
SFtype       orbifold
cstar        1
phi          0.12 -0.56

[SU(3) action]
beta         6.10
c0           1.6667

[Random number generator]
level        0
seed         73099

[Trajectory length]
tau          3.0

[MD integrator]
integrator   OMF4
nstep        16

[MD trajectories]
nth          320
ntr          32000
dtr_log      4
dtr_ms       8
dtr_cnfg     32

[Wilson flow]
integrator   RK3
eps          2.0e-2
nstep        100
dnms         10
"""
LOG = """
Simulation of the SU(3) gauge theory
------------------------------------

New run, start from random configuration

Using the HMC algorithm
Program version openQCD-1.6
8x8x8x8 lattice, 8x4x4x4 local lattice
1x2x2x2 process grid, 1x1x1x1 process block size

Trajectory no 4
dH = -2.1e-02, iac = 1
Average plaquette = 1.781234
Acceptance rate = 1.00
Time per trajectory = 1.20e-01 sec (average = 1.20e-01 sec)

Trajectory no 8
dH = +1.5e+00, iac = 0
Average plaquette = 1.779876
Acceptance rate = 0.75
Time per trajectory = 1.20e-01 sec (average = 1.20e-01 sec)

Configuration no 1 exported

"""


def run_data(n: int = 200, *, n_plaquettes: int = 1, seed: int = 1) -> bytes:
    """Records as the program writes them: two integers, then dH and the traces, little-endian."""
    rng = np.random.default_rng(seed)
    traces = 1.78 + 0.005 * rng.normal(size=(n, n_plaquettes))
    return b"".join(
        struct.pack(f"<ii{1 + n_plaquettes}d", 4 * (i + 1), i % 5 > 0, rng.normal(), *traces[i])
        for i in range(n)
    )


def flow_data(n: int = 3, *, n_last: int = 20, n_time: int = 4) -> bytes:
    """A header of dn, nn, tmax and eps, and records of sums over time slices."""
    rng = np.random.default_rng(2)
    head = struct.pack("<iiid", 10, n_last, n_time, 0.02)
    records = [
        struct.pack("<i", 8 * (i + 1)) + rng.normal(5, 1, (3, n_last + 1, n_time)).tobytes()
        for i in range(n)
    ]
    return head + b"".join(records)


def test_an_input_file_comes_back_as_the_parameters_that_it_was_written_from(tmp_path):
    path = tmp_path / "run.in"
    path.write_text(openqxd.input_file(RUN))
    assert openqxd.read_input(path) == RUN.replace(n_processes=1)
    path.write_text(EXAMPLE)
    found = openqxd.read_input(path)
    assert (found.beta, found.n_cstar, found.time_boundary, found.n_steps) == (6.1, 1, "periodic", 16)
    assert (found.n_trajectories, found.keep_every, found.flow_step) == (32000, 32, 0.02)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("type         3", "type         SF", "type = SF: open and periodic are here"),
        ("beta         6.10", "", "there is nothing for beta"),
        ("beta         6.10", "beta six", "could not convert"),
        ("seed         73099", "seed 1 2", "line 23: seed must stand once, with one value"),
        ("nstep        16", "nstep 16\nnstep 17", "nstep must stand once"),
    ],
)
def test_a_wrong_input_file_is_refused_with_the_place(tmp_path, old, new, words):
    path = tmp_path / "run.in"
    path.write_text(EXAMPLE.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=words):
        openqxd.read_input(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_trajectories": 100}, "n_trajectories = 100 must be a multiple of keep_every = 32"),
        ({"measure_every": 6, "keep_every": 30, "n_thermal": 0}, "must be a multiple of"),
        ({"name": "../x"}, "name = '../x' must be up to 40 letters"),
        ({"binary": "ym1; rm"}, "must be a path without spaces"),
        ({"n_thermal": 6400}, "n_thermal = 6400 is more than n_trajectories"),
    ],
)
def test_what_the_program_would_refuse_is_refused_before(changes, words):
    with pytest.raises(ParameterError, match=words):
        RUN.replace(**changes)


@pytest.fixture
def described():
    from dask import config

    load_jobqueue()  # its defaults stay when what is described here goes
    given = {"cores": 4, "memory": "4GB", "walltime": "01:00:00", "account": "lattice"}
    with config.set({f"jobqueue.slurm.{name}": value for name, value in given.items()}):
        yield


def test_the_job_has_the_settings_of_the_cluster_and_the_processes_of_the_run(described):
    script = openqxd.job_script(RUN, "slurm")
    lines = script.splitlines()
    assert lines[0].startswith("#!")
    for line in ("-J Snoopy137", "-A lattice", "-n 8", "--cpus-per-task=1", "-t 01:00:00"):
        assert f"#SBATCH {line}" in lines
    assert lines[-1] == "srun ym1 -i Snoopy137.in -noloc"
    assert "dask_worker" not in script
    with pytest.raises(ValueError, match="are submitted to slurm"):
        openqxd.job_script(RUN, "local")


def test_where_the_program_is_not_here_the_job_is_shown_and_nothing_is_submitted(described, tmp_path):
    absent = RUN.replace(binary="/no/such/ym1")
    with pytest.raises(
        clusters.ClusterError, match=r"/no/such/ym1 is not found here; the job would be"
    ):
        openqxd.submit(absent, tmp_path)
    assert (tmp_path / "Snoopy137.sh").read_text() == openqxd.job_script(absent, "slurm")
    assert openqxd.read_input(tmp_path / "Snoopy137.in").beta == 6.0
    assert all((tmp_path / name).is_dir() for name in ("log", "dat", "cnfg"))
    told = CliRunner().invoke(
        app, ["lattice", "openqxd", str(tmp_path), "-p", "binary=/no/such/ym1", "-p", "beta=6.2"]
    )
    assert told.exit_code == 1
    assert "srun /no/such/ym1 -i run.in -noloc" in told.stdout
    assert "not submitted: /no/such/ym1 is not found here" in told.stdout


def test_a_run_that_is_there_is_not_written_over(described, tmp_path):
    openqxd.prepare(RUN, tmp_path)
    (tmp_path / "log" / "Snoopy137.log").write_text("kept")
    with pytest.raises(FileExistsError, match="is there already"):
        openqxd.prepare(RUN, tmp_path)
    with pytest.raises(ValueError, match="characters, the program takes 127"):
        openqxd.prepare(RUN, tmp_path / ("long" * 40))


def test_a_log_tells_lattice_acceptance_and_plaquette(tmp_path):
    path = tmp_path / "run.log"
    path.write_text(LOG)
    found = openqxd.read_log(path)
    np.testing.assert_allclose(found["plaquette"][0], [1.781234 / 3, 1.779876 / 3])
    np.testing.assert_array_equal(found["accepted"][0], [1, 0])
    np.testing.assert_allclose(found["energy_change"][0], [-0.021, 1.5])
    assert list(found["measurement"].values) == [4, 8]
    assert found.attrs["lattice"] == [8, 8, 8, 8]
    assert (found.attrs["version"], found.attrs["n_configurations"]) == ("openQCD-1.6", 1)
    both = LOG.replace("Average plaquette = ", "Average SU(3) plaquette = ")
    path.write_text(both.replace("Acceptance", "Average U(1) plaquette = 0.9\nAcceptance"))
    np.testing.assert_allclose(openqxd.read_log(path)["plaquette_u1"], 0.9)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("8x8x8x8 lattice", "no", "no line tells the lattice"),
        ("dH = +1.5e+00, iac = 0\n", "", "trajectory 8 has no dH, iac or plaquette"),
        ("= 1.779876", "= 17.79876", "plaquettes must lie in -3 to 3"),
        ("Trajectory no 8", "Trajectory no 3", "trajectories must grow"),
        ("iac = 0", "iac = 7", "trajectory 8 has no dH"),
    ],
)
def test_a_damaged_log_is_refused_in_a_sentence(tmp_path, old, new, words):
    path = tmp_path / "run.log"
    path.write_text(LOG.replace(old, new))
    with pytest.raises(ConfigurationError, match=words):
        openqxd.read_log(path)


@pytest.mark.parametrize("n_plaquettes", [1, 2])
def test_run_data_are_read_whatever_the_theory(tmp_path, n_plaquettes):
    path = tmp_path / "run.dat"
    path.write_bytes(run_data(199, n_plaquettes=n_plaquettes))
    found = openqxd.read_dat(path)
    assert found.sizes["measurement"] == 199
    assert ("plaquette_u1" in found) == (n_plaquettes == 2)
    assert float(found["accepted"].mean()) == pytest.approx(0.8, abs=0.01)
    assert float(found["plaquette"].mean()) == pytest.approx(1.78 / 3, abs=1e-3)


def test_damaged_run_data_are_refused_or_harmless(tmp_path):
    path, whole = tmp_path / "run.dat", run_data(20)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        if length % 24 or not length:
            with pytest.raises(ConfigurationError, match=r"run\.dat"):
                openqxd.read_dat(path)
    rng = np.random.default_rng(3)
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            assert (abs(openqxd.read_dat(path)["plaquette"]) <= 1).all()
        except ConfigurationError:
            continue


def test_flow_files_are_read_as_an_independent_reader_does(tmp_path):
    pyerrors()  # without its warning
    from pyerrors.input import openQCD

    (tmp_path / "runr1.ms.dat").write_bytes(flow_data(50))
    found = openqxd.read_flow(tmp_path / "runr1.ms.dat", n_space=8**3)
    assert found["charge"].dims == ("trajectory", "flow_time")
    np.testing.assert_allclose(found["flow_time"][-1], 0.02 * 200)
    # pyerrors takes the flow time from c = sqrt(8 t) / L: here the last one, of L = 8.
    other = openQCD.read_qtop(str(tmp_path), "run", np.sqrt(8 * 4.0) / 8, L=8)
    (ensemble,) = other.deltas
    told = other.deltas[ensemble] + other.r_values[ensemble]
    np.testing.assert_allclose(told, found["charge"][:, -1])
    assert float(found["t2_energy"][0, -1]) == pytest.approx(
        16 * float(found["energy_slices"][0, -1].mean()) / 512
    )


def test_damaged_flow_files_are_refused(tmp_path):
    path, whole = tmp_path / "run.ms.dat", flow_data()
    for length in (0, 19, 20, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigurationError, match=r"run\.ms\.dat"):
            openqxd.read_flow(path)
    path.write_bytes(struct.pack("<iiid", 10, 2**30, 2**30, 0.02) + whole[20:])
    with pytest.raises(ConfigurationError, match="dn, nn, tmax, eps = 10, 1073741824"):
        openqxd.read_flow(path)


def test_the_coupling_of_a_run_is_found_from_its_data(tmp_path):
    from physics_twins.lattice.simulate import simulate

    asked = LatticeParameters(
        theory="su3", n_dimensions=4, side=4, beta=5.9, n_warmup=100, n_measurements=200, n_chains=1
    ).replace(n_overrelaxations=1)
    drawn = simulate(asked, seed=12)["plaquette"][0].values
    records = [struct.pack("<iidd", n + 1, 1, 0.0, 3 * p) for n, p in enumerate(drawn)]
    (tmp_path / "run.dat").write_bytes(b"".join(records))
    found = calibrate(openqxd.read_dat(tmp_path / "run.dat"), start=asked.replace(beta=6.1), seed=13)
    beta = found.parameters["beta"]
    assert abs(beta.value - 5.9) < 5 * beta.error < 0.2
