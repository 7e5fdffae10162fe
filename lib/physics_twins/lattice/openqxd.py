"""Runs of openQ*D's `ym1`: input files, jobs of a batch system, and what a run leaves behind.

openQ*D (Campos, Fritzsch, Hansen, Krstic Marinkovic, Patella, Ramos and Tantalo 2020, Eur. Phys. J. C
80, 195). Input and output are those that its README files describe; binary numbers are little-endian.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physics_twins import clusters
from physics_twins.data import note_path, write_text
from physics_twins.lattice.formats.configuration import ConfigurationError
from physics_twins.lattice.openqxd_parameters import OpenQxDParameters

_LONGEST_PATH = 127  # NAME_SIZE less one
_FOLDERS = ("log", "dat", "cnfg")
MAX_BYTES = 2**31
# By section and key of the input file: the parameter.
_KEYS = {
    "Run name": {"name": "name"},
    "Boundary conditions": {"type": "time_boundary", "cstar": "n_cstar"},
    "SU(3) action": {"beta": "beta", "c0": "c0", "cG": "c_boundary"},
    "Random number generator": {"level": "ranlux_level", "seed": "ranlux_seed"},
    "Trajectory length": {"tau": "trajectory_length"},
    "MD integrator": {"integrator": "integrator", "lambda": "omf2_lambda", "nstep": "n_steps"},
    "MD trajectories": {
        "nth": "n_thermal",
        "ntr": "n_trajectories",
        "dtr_log": "log_every",
        "dtr_ms": "measure_every",
        "dtr_cnfg": "keep_every",
    },
    "Wilson flow": {
        "integrator": "flow_integrator",
        "eps": "flow_step",
        "nstep": "n_flow_steps",
        "dnms": "flow_every",
    },
}
_BOUNDARIES = {"0": "open", "3": "periodic"}


def input_file(parameters: OpenQxDParameters) -> str:
    """Return the input file of a run, whose folders are `log`, `dat` and `cnfg` where it is started."""
    lines = []
    for section, keys in _KEYS.items():
        lines += [
            f"[{section}]",
            *(f"{key:12} {getattr(parameters, n)}" for key, n in keys.items()),
            "",
        ]
        if section == "Run name":
            folders = ["log_dir      log", "dat_dir      dat", "loc_dir      cnfg", "cnfg_dir     cnfg"]
            lines += ["[Directories]", *folders, ""]
    return "\n".join(lines)


def read_input(path: str | Path) -> OpenQxDParameters:
    """Return the parameters in an input file of `ym1`.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: A key is missing or twice, or its boundaries are not here.
        ParameterError: A value is not allowed.
    """
    path, section, found = Path(path), "", {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if title := re.fullmatch(r"\s*\[(.+)\]\s*", line.partition("#")[0]):
            section = title[1]
        elif name := _KEYS.get(section, {}).get(words[0]):
            if name in found or len(words) != 2:
                raise ConfigurationError(
                    f"{path}, line {number}: {words[0]} must stand once, with one value"
                )
            found[name] = words[1]
    found["time_boundary"] = _BOUNDARIES.get(found.get("time_boundary", ""), found.get("time_boundary"))
    if found["time_boundary"] not in _BOUNDARIES.values():
        raise ConfigurationError(
            f"{path}: [Boundary conditions] type = {found['time_boundary']}: open and periodic are here"
        )
    optional = {"c_boundary", "omf2_lambda", "n_cstar"}
    names = [name for keys in _KEYS.values() for name in keys.values()]
    if missing := [name for name in names if name not in found and name not in optional]:
        raise ConfigurationError(f"{path}: there is nothing for {', '.join(missing)}")
    known = OpenQxDParameters.describe()
    try:
        values = {name: known[name].kind(value) for name, value in found.items()}
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return OpenQxDParameters(**values)


def job_script(parameters: OpenQxDParameters, on: str) -> str:
    """Return the script of the job that runs the program, with the settings of the cluster's own jobs.

    Args:
        parameters: The run.
        on: A batch system or a section of its own, as `slurm`, see the book's page on clusters.

    Raises:
        ValueError: It is no section for SLURM.
        ClusterError: The description of its jobs is missing or wrong.
    """
    if on.partition("-")[0] != "slurm":
        raise ValueError(f"on = {on!r}: jobs of openQ*D are submitted to slurm, or to a section of it")
    given = clusters.job_script(on).splitlines()
    kept = [line for line in given if "distributed" not in line]
    changed = []
    for line in kept:
        line = re.sub(r"^(#SBATCH -J) .*", rf"\1 {parameters.name}", line)
        line = re.sub(r"^(#SBATCH -n) \d+", rf"\1 {parameters.n_processes}", line)
        changed.append(re.sub(r"^(#SBATCH --cpus-per-task)=\d+", r"\1=1", line))
    command = f"srun {parameters.binary} -i {parameters.name}.in -noloc"
    return "\n".join([*changed, command, ""])


def prepare(parameters: OpenQxDParameters, folder: str | Path, *, on: str = "slurm") -> Path:
    """Write input file, job script and folders of a run; return the script's path.

    Raises:
        FileExistsError: The folder has a log of this run already, which the program would refuse.
        ValueError: The folder's path is longer than the program takes.
    """
    folder = Path(folder).absolute()
    script = job_script(parameters, on)
    longest = str(folder / "dat" / f"{parameters.name}.ms3.dat~")
    if len(longest) > _LONGEST_PATH:
        raise ValueError(f"{longest} has {len(longest)} characters, the program takes {_LONGEST_PATH}")
    if (log := folder / "log" / f"{parameters.name}.log").exists():
        raise FileExistsError(f"{log} is there already: choose another name or folder")
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{parameters.name}.in", input_file(parameters))
    write_text(folder / f"{parameters.name}.sh", script)
    return folder / f"{parameters.name}.sh"


def submit(parameters: OpenQxDParameters, folder: str | Path, *, on: str = "slurm") -> str:
    """Prepare a run and submit it; return the job's number.

    Raises:
        ClusterError: The program or SLURM is not here, or refuses; the script is in the folder.
    """
    script = prepare(parameters, folder, on=on)
    for command in (parameters.binary, "sbatch"):
        if not shutil.which(command):
            raise clusters.ClusterError(f"{command} is not found here; the job would be {script}")
    run: Any = {"capture_output": True, "text": True, "cwd": script.parent, "timeout": 60}
    try:
        done = subprocess.run(["sbatch", "--parsable", script.name], check=True, **run)  # noqa: S603, S607
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise clusters.ClusterError(f"sbatch refuses {script}: {' '.join(str(said).split())}") from None
    return done.stdout.strip().partition(";")[0]


def read_log(path: str | Path) -> xr.Dataset:
    """Return what a run has logged.

    Returns:
        `plaquette` over N, `accepted` and `energy_change`, as (chain, measurement) at `measurement`,
        the trajectory; of QCD+QED `plaquette_u1` too. Attributes `lattice`, `version` and
        `n_configurations`.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It is no log, or an entry is not whole.
    """
    path = Path(path)
    text = _text(path)
    head = re.search(r"^(\d+)x(\d+)x(\d+)x(\d+) lattice, ", text, re.MULTILINE)
    if not head:
        raise ConfigurationError(f"{path}: no line tells the lattice, so it is no log of openQ*D")
    parts = re.split(r"^Trajectory no (\d+)$", text, flags=re.MULTILINE)
    number = r"([-+]?\d[-+.\deE]*)"
    rows = []
    for trajectory, entry in zip(parts[1::2], parts[2::2], strict=True):
        state = re.search(rf"^dH = {number}, iac = ([01])$", entry, re.MULTILINE)
        of_su3 = re.search(rf"^Average (?:SU\(3\) )?plaquette = {number}$", entry, re.MULTILINE)
        of_u1 = re.search(rf"^Average U\(1\) plaquette = {number}$", entry, re.MULTILINE)
        if not state or not of_su3:
            raise ConfigurationError(f"{path}: trajectory {trajectory} has no dH, iac or plaquette")
        plaquettes = [of_su3[1], of_u1[1]] if of_u1 else [of_su3[1]]
        rows.append([float(each) for each in (trajectory, state[2], state[1], *plaquettes)])
    if len({len(row) for row in rows}) != 1:
        raise ConfigurationError(f"{path}: there are no trajectories, or not all have the same entries")
    version = re.search(r"^Program version (.+)$", text, re.MULTILINE)
    found = _run_data(path, np.array(rows))
    return found.assign_attrs(
        lattice=[int(size) for size in head.groups()],
        version=version[1] if version else "",
        n_configurations=len(re.findall(r"^Configuration no \d+ ", text, re.MULTILINE)),
    )


def read_dat(path: str | Path) -> xr.Dataset:
    """Return a run's `.dat` file, in the form of `read_log`.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It does not hold records of SU(3), or of SU(3) and U(1).
    """
    path = Path(path)
    raw, why = _bytes(path), []
    for n_plaquettes in (1, 2):
        kind = np.dtype([("nt", "<i4"), ("iac", "<i4"), ("real", "<f8", (1 + n_plaquettes,))])
        if not raw or len(raw) % kind.itemsize:
            why.append(f"{len(raw)} bytes are not records of {kind.itemsize}")
            continue
        records = np.frombuffer(raw, kind)
        rows = np.column_stack([records["nt"], records["iac"], records["real"]]).astype(float)
        try:
            return _run_data(path, rows)
        except ConfigurationError as error:
            why.append(str(error).removeprefix(f"{path}: "))
    raise ConfigurationError(f"{path}: {'; '.join(why)}")


def _run_data(path: Path, rows: Any) -> xr.Dataset:
    """Return what columns trajectory, accepted, change of energy and traces of plaquettes say."""
    trajectory, accepted, plaquettes = rows[:, 0], rows[:, 1], rows[:, 3:]
    steps = np.diff(trajectory)
    wrong = {
        "trajectories must grow in equal steps": trajectory[0] < 1
        or (steps < 1).any()
        or (steps != steps[:1]).any(),
        "iac must be 0 or 1": not np.isin(accepted, (0, 1)).all(),
        "dH must be a number": not np.isfinite(rows[:, 2]).all(),
        "plaquettes must lie in -3 to 3": not (np.abs(plaquettes) <= 3).all(),
    }
    if told := [words for words, is_so in wrong.items() if is_so]:
        raise ConfigurationError(f"{path}: {'; '.join(told)}")
    pure, dims = {"units": "1"}, ("chain", "measurement")
    columns = {"accepted": accepted, "energy_change": rows[:, 2], "plaquette": plaquettes[:, 0] / 3}
    if plaquettes.shape[1] == 2:
        columns["plaquette_u1"] = plaquettes[:, 1]
    return xr.Dataset(
        {name: (dims, column[None], pure) for name, column in columns.items()},
        {"measurement": ("measurement", trajectory.astype(int), pure | {"long_name": "Trajectory"})},
        {"title": f"Run {path.name}"},
    )


def read_flow(path: str | Path, *, n_space: int = 0) -> xr.Dataset:
    """Return a run's measurements along the gradient flow, from its `.ms.dat` or `.ms3.dat`.

    Args:
        path: The file.
        n_space: Sites of a time slice, which the file does not say; with them the energy is told.

    Returns:
        Sums over time slices of the densities of Wilson's action, the clover's and the charge,
        `wilson_slices`, `energy_slices`, `charge_slices` (trajectory, flow_time, t); `charge`
        (trajectory, flow_time), and with `n_space` also `t2_energy`, t^2 E.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It is no such file, or not whole.
    """
    path = Path(path)
    raw = _bytes(path)
    if len(raw) < 20:
        raise ConfigurationError(f"{path}: the header has 20 bytes, found {len(raw)}")
    every, n_last, n_time = (int(each) for each in np.frombuffer(raw, "<i4", 3))
    step = float(np.frombuffer(raw, "<f8", 1, 12)[0])
    if not (0 < every < 10**6 and 0 < n_last < 10**6 and 0 < n_time < 10**5 and 0 < step < 100):
        raise ConfigurationError(
            f"{path}: dn, nn, tmax, eps = {every}, {n_last}, {n_time}, {step:g} are none of a flow"
        )
    size = 4 + 24 * (n_last + 1) * n_time
    n_records, left = divmod(len(raw) - 20, size)
    if left or not n_records:
        raise ConfigurationError(f"{path}: records have {size} bytes, found {len(raw) - 20}")
    kind = np.dtype([("nt", "<i4"), ("sums", "<f8", (3, n_last + 1, n_time))])
    records = np.frombuffer(raw, kind, n_records, 20)
    trajectory, sums = records["nt"].astype(int), records["sums"].astype(float)
    if (np.diff(trajectory) < 1).any() or not np.isfinite(sums).all():
        raise ConfigurationError(f"{path}: trajectories must grow, and sums must be numbers")
    pure, dims = {"units": "1"}, ("trajectory", "flow_time", "t")
    names = ("wilson_slices", "energy_slices", "charge_slices")
    times = step * every * np.arange(n_last + 1)
    found = xr.Dataset(
        {name: (dims, sums[:, n], pure) for n, name in enumerate(names)},
        {"trajectory": ("trajectory", trajectory, pure), "flow_time": ("flow_time", times, pure)},
        {"title": f"Gradient flow of {path.name}"},
    )
    found["charge"] = found["charge_slices"].sum("t").assign_attrs(pure)
    if n_space:
        energy = found["energy_slices"].sum("t") / (n_time * n_space)
        found["t2_energy"] = (energy * found["flow_time"] ** 2).assign_attrs(pure)
    return found


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigurationError(
            f"{path} has {path.stat().st_size} bytes, at most {MAX_BYTES} are read"
        )
    note_path(path)
    return path.read_bytes()


def _text(path: Path) -> str:
    return _bytes(path).decode("latin-1")
