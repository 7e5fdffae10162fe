"""Real files of radio telescopes that anyone can download, and that the twin is tested on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from physics_twins import data


@dataclass(frozen=True)
class PublicFile:
    """A real file that anyone can download.

    Attributes:
        address: Where it is, at one fixed commit.
        sha256: Hash of its content.
        about: What it holds, and its licence.
    """

    address: str
    sha256: str
    about: str


_YOUR = (
    "https://raw.githubusercontent.com/thepetabyteproject/your/2d202eed13434cce4015ceb1cc796981bdb30d25"
)
_SIGPYPROC = (
    "https://raw.githubusercontent.com/FRBs/sigpyproc3/b31ef20fa13bb97e2caa244f65a4dfa377d6945a"
)
PUBLIC_FILES: Mapping[str, PublicFile] = {
    "pulsar/askap_frb_28.fil": PublicFile(
        f"{_YOUR}/tests/data/28.fil",
        "9bd705b79b37bb90f470ad97497779b82b049b44ea859844b37b9a77260a6201",
        "ASKAP filterbank with a fast radio burst, from the tests of your (GPL-3)",
    ),
    "pulsar/askap_frb_28.fits": PublicFile(
        f"{_YOUR}/tests/data/28.fits",
        "fb5d24bacddb00356c3238ff64af35724fc2104af05dd98addc9a02d791a094a",
        "The same spectra as a PSRFITS search-mode file, from the same tests",
    ),
    "pulsar/parkes_8bit_1.fil": PublicFile(
        f"{_SIGPYPROC}/tests/data/parkes_8bit_1.fil",
        "3b7ac44e3a48374757a1c5980854fb20c8cf74e59d94cca71a6ecae21ddc0850",
        "Parkes filterbank with interference, from the tests of sigpyproc3 (MIT)",
    ),
    "pulsar/GBT_J1807-0847.dat": PublicFile(
        f"{_SIGPYPROC}/tests/data/GBT_J1807-0847.dat",
        "9a3c4b569327a01f42941c192e21927a866f51331b337a412eb653a9aef293da",
        "Dedispersed time series of a pulsar, from the tests of sigpyproc3 (MIT)",
    ),
    "pulsar/GBT_J1807-0847.inf": PublicFile(
        f"{_SIGPYPROC}/tests/data/GBT_J1807-0847.inf",
        "b070b0cb196add17bba6a4e7546e81b74b36516b36d05d0494b7540c5ddc3e19",
        "Header of that time series",
    ),
}


def fetch(name: str, *, timeout_s: float = 30.0) -> Path:
    """Return the cached copy of a public file; see `data.fetch`.

    Raises:
        ValueError: The file is not a public one, or what came has another hash.
        OSError: The download failed.
    """
    if name not in PUBLIC_FILES:
        raise ValueError(f"no public file {name!r}; known are {', '.join(PUBLIC_FILES)}")
    public = PUBLIC_FILES[name]
    return data.fetch(name, public.address, public.sha256, timeout_s=timeout_s)
