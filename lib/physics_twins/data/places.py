"""Where files are: the project's own, real data, and what may be lost."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any


def homes() -> list[Path]:
    """Return the folders with notebooks and models: the project around, the package, its clone.

    The project is the nearest such folder from the current one upwards.
    """
    here, package = Path.cwd(), Path(__file__).resolve().parents[1]  # a wheel holds them itself
    around = next(filter(_is_home, (here, *here.parents)), package)
    return [place for place in dict.fromkeys((around, package, package.parents[1])) if _is_home(place)]


def _is_home(folder: Path) -> bool:
    """Return whether a folder's `notebooks/` holds one a level down, as `pulsar/4_infer.ipynb`."""
    # Not the copies that JupyterLab keeps in hidden folders.
    return any((folder / "notebooks").glob("[!.]*/*.ipynb"))


def find_data_file(name: str) -> Path | None:
    """Return where a real file such as `pulsar/askap_frb_28.fil` lies, None where it is not.

    It is looked for in the folder that `PHYSICS_TWINS_DATA` names, then in the cache.
    """
    named = os.environ.get("PHYSICS_TWINS_DATA")
    places = [Path(named).expanduser()] if named else []
    found = (folder / name for folder in (*places, cache()))
    return next((path.resolve() for path in found if path.is_file()), None)


def fetch(name: str, address: str, sha256: str, *, timeout_s: float = 30.0) -> Path:
    """Return the cached copy of a public file, downloaded when missing.

    Args:
        name: As in `pulsar/askap_frb_28.fil`.
        address: Where it is, at one fixed version.
        sha256: Hash of its content.
        timeout_s: How long the server may say nothing.

    Raises:
        ValueError: What came has another hash.
        OSError: The download failed.
    """
    import pooch

    place = cache() / name
    # What pooch says of its own type is that of a function.
    downloader: Any = pooch.HTTPDownloader(timeout=timeout_s)
    options = {"fname": place.name, "path": place.parent, "downloader": downloader}
    return Path(pooch.retrieve(address, f"sha256:{sha256}", **options))


def cache() -> Path:
    """Return the user's cache folder for this library, or `private` where it cannot be written.

    A shared installation may be used by somebody without a home, as in a container.
    """
    import pooch

    folder = Path(pooch.os_cache("physics-twins"))
    return folder if _can_be_made(folder) else private()


def private() -> Path:
    """Return a folder among the temporary ones that is this user's and that nobody else can write.

    What is loaded from it is run, so one that somebody else has made is never taken.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"physics-twins-{user}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        if stat.S_ISDIR(state.st_mode) and state.st_uid == user and not state.st_mode & 0o077:
            return folder
    return Path(tempfile.mkdtemp(prefix="physics-twins-"))


def keep_compiled_code() -> None:
    """Let numba keep what it compiles in `private` where neither here nor the cache can be written."""
    beside = Path(__file__).parents[1]
    if "NUMBA_CACHE_DIR" in os.environ or os.access(beside, os.W_OK):
        return
    named = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    if not _can_be_made(Path(named).expanduser() / "numba"):
        os.environ["NUMBA_CACHE_DIR"] = str(private() / "numba")


def _can_be_made(folder: Path) -> bool:
    """Return whether files can be written into a folder that is there, or made there."""
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
