"""The data that Geant4 needs for electromagnetic showers, written here instead of downloaded.

Geant4's own tables are 2 GB. What its standard electromagnetic physics reads of them is, for each
element, the photoelectric effect, coherent scattering, bremsstrahlung and nuclear reactions of
photons. The first two come from xraylib, the third from formulas, the last is left out below 150
MeV, all in less than 1 MB. Where full tables are installed, they are used instead.

What is lost against the full tables: the photoelectric effect gives the whole photon's energy to one
electron (no fluorescence, no Auger electrons); bremsstrahlung of slow electrons is approximate (see
`bremsstrahlung`); nuclear reactions of photons happen above 150 MeV only, but for tungsten and
hydrogen, where Geant4 has a formula at all energies.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physics_twins import data
from physics_twins.calorimeter.geant4 import bremsstrahlung, photons
from physics_twins.calorimeter.geant4.materials import ELEMENTS

# The data sets of Geant4 11.4, as calzone 1.2 asks for them; those of no use here stay empty.
_EM, _NUCLEAR, _NUCLIDES = "G4EMLOW8.8", "G4PARTICLEXS4.2", "G4ENSDFSTATE3.0"
_EMPTY = (
    "G4ABLA3.3",
    "G4CHANNELING2.0",
    "G4INCL1.3",
    "G4NDL4.7.1",
    "G4PII1.3",
    "G4SAIDDATA2.0",
    "PhotonEvaporation6.1.2",
    "RadioactiveDecay6.1.2",
    "RealSurface2.2",
)
_SUM = "SHA256SUMS"
# Geant4's internal unit of area is mm2.
_MM2_PER_BARN = 1e-22
# Geant4 shares bremsstrahlung of up to 1 GeV out from this table, and has a formula of its own above.
_BREMSSTRAHLUNG_MEV = np.geomspace(1e-3, 1e4, 57)
_PHOTON_SHARES = np.array(
    [1e-6, 0.025, 0.05, 0.075]
    + [n / 20 for n in range(2, 18)]
    + [0.9, 0.925, 0.95, 0.97, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99995, 0.99999, 1.0]
)
_NUCLEAR_FROM_MEV = 150.0


def use_tables() -> Path:
    """Let Geant4 find its data, written if need be, in this process; return their folder.

    What they are is noted, see `data.note`.

    Full tables are taken from where calzone looks for them: the folder that `GEANT4_DATA_DIR` names, or
    that of `python -m calzone download`. To be called before calzone is imported.

    Raises:
        ValueError: `GEANT4_DATA_DIR` is set and holds no tables for electromagnetic physics.
        ModuleNotFoundError: xraylib is missing.
        OSError: The cache folder cannot be written.
    """
    folder, sha256 = _used()
    data.note(__name__, "Geant4's tables", sha256)
    return folder


@cache
def _used() -> tuple[Path, str]:
    """Return what this process uses, and its hash: Geant4 reads its tables only once."""
    sha256 = source_sha256()
    folder = full_tables() or small_tables()
    # Such as G4LEDATA: they would lead Geant4 away from the folder that `GEANT4_DATA_DIR` names.
    for name in [name for name in os.environ if name.startswith("G4") and name.endswith("DATA")]:
        del os.environ[name]
    os.environ["GEANT4_DATA_DIR"] = str(folder)
    return folder, sha256


def source_sha256(name: str = "") -> str:
    """Return the hash of the tables that a new process would use.

    Raises:
        ValueError: As for `use_tables`.
        ModuleNotFoundError: xraylib is missing.
    """
    full = full_tables()
    return data.file_sha256(full) if full else _identity()


def full_tables() -> Path | None:
    """Return the folder of Geant4's own tables, None where there are none.

    Raises:
        ValueError: `GEANT4_DATA_DIR` is set and holds no tables for electromagnetic physics.
    """
    named = os.environ.get("GEANT4_DATA_DIR")
    folder = Path(named).expanduser() if named else _of_calzone()
    if (folder / _SUM).is_file():  # ours, named by the process that started this one
        return None
    if any(folder.glob("G4EMLOW*/brem_SB/br74")):
        return folder
    if named:
        raise ValueError(
            f"GEANT4_DATA_DIR = {named} has no G4EMLOW*/brem_SB: unset it to use the project's own"
            " small tables, or fill it with `python -m calzone download`"
        )
    return None


def small_tables(root: Path | None = None) -> Path:
    """Return the folder of our own tables below `root`, by default the user's cache.

    A folder that is there and whole is used; one with a changed or missing file is written again. Its
    name holds the hash of what it is made from.

    Raises:
        ModuleNotFoundError: xraylib is missing.
        OSError: The folder cannot be written.
    """
    folder = (root or data.cache()) / f"geant4-{_identity()[:16]}"
    if not is_whole(folder):
        write_tables(folder, ELEMENTS.values())
    return folder


def is_whole(folder: Path) -> bool:
    """Return whether every file that belongs to a folder of tables is there, unchanged."""
    sums = folder / _SUM
    if not sums.is_file() or not all((folder / name).is_dir() for name in _EMPTY):
        return False
    try:
        lines = [line.split("  ", 1) for line in sums.read_text().splitlines()]
        return bool(lines) and all(_sha256((folder / name).read_bytes()) == sha for sha, name in lines)
    except (OSError, ValueError):
        return False


def write_tables(folder: Path, atomic_numbers: Iterable[int]) -> None:
    """Write the tables of some elements; each file appears whole or not at all, their sums last.

    Several processes may do so at once: they write the same.
    """
    files = {name: text.encode() for z in atomic_numbers for name, text in _tables(z)}
    no_reactions = _vector(np.linspace(0, _NUCLEAR_FROM_MEV, 4), np.zeros(4)).encode()
    # Asked for also where Geant4 itself makes an element, such as helium.
    files |= {f"{_NUCLEAR}/gamma/inel{z}": no_reactions for z in range(1, 95)}
    files[f"{_NUCLIDES}/ENSDFSTATE.dat"] = b""  # no excited nuclei
    for name in _EMPTY:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with data.replacing(path) as temporary:
            temporary.write_bytes(content)
    sums = "".join(f"{_sha256(content)}  {name}\n" for name, content in sorted(files.items()))
    data.write_text(folder / _SUM, sums)


def _tables(z: int) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file of one element, in the forms that Geant4 11.4 reads."""
    yield f"{_EM}/brem_SB/br{z}", _bremsstrahlung(z)
    energy = _photon_energies(z)
    absorbed = photons.photoelectric_cross_section(energy, z)
    yield f"{_EM}/epics2017/phot/pe-cs-{z}.dat", _vector(energy, absorbed * energy**3)
    # One shell without binding energy, whose fits begin where no photon comes.
    for name in ("high", "low"):
        yield f"{_EM}/epics2017/phot/pe-{name}-{z}.dat", "1 1 1e12\n1e-5 0 0 0 0 0 0\n"
    scattered = photons.rayleigh_cross_section(energy, z) * _MM2_PER_BARN
    yield f"{_EM}/epics2017/rayl/re-cs-{z}.dat", _vector(energy, scattered * energy**2)


def _photon_energies(z: int) -> NDArray[np.float64]:
    """Return energies at which cross sections are written: 40 a decade, and both sides of edges."""
    plain = np.geomspace(1e-5, 1e6, 441)
    edges = photons.absorption_edges(z)
    return np.unique([*plain, *(edge * side for edge in edges for side in (1 - 1e-6, 1 + 1e-6))])


def _bremsstrahlung(z: int) -> str:
    """Return G4Physics2DVector's text: k/T, ln(T/MeV), then one row of values for each T."""
    energy = _BREMSSTRAHLUNG_MEV
    values = bremsstrahlung.scaled_cross_section(energy[:, None], _PHOTON_SHARES, z)
    head = f"0 {len(_PHOTON_SHARES)} {len(energy)}"
    rows = [_PHOTON_SHARES, np.log(energy), *values]
    return "\n".join([head, *(" ".join(f"{value:.7g}" for value in row) for row in rows)]) + "\n"


def _vector(energy: NDArray[np.float64], values: NDArray[np.float64]) -> str:
    """Return G4PhysicsVector's text."""
    lines = [f"{energy[0]:.9g} {energy[-1]:.9g} {len(energy)}", str(len(energy))]
    pairs = zip(energy, values, strict=True)
    return "\n".join([*lines, *(f"{each:.9g} {value:.9g}" for each, value in pairs)]) + "\n"


@cache
def _identity() -> str:
    """Return the hash of what the tables follow from."""
    sources = (__file__, bremsstrahlung.__file__, photons.__file__)
    recipe: Mapping[str, object] = {
        "elements": sorted(ELEMENTS.values()),
        "sources": [Path(each).read_text() for each in sources],
        "xraylib": _version("xraylib"),
    }
    return _sha256(repr(recipe).encode())


def _version(package: str) -> str:
    photons.require_xraylib()
    return version(package)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _of_calzone() -> Path:
    """Return the folder into which `python -m calzone download` puts full tables."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "calzone" / "data"
    return Path.home() / ".local/share/calzone/data"
