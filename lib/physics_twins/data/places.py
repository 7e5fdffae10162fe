"""Where files that may be lost can be kept: the user's cache, else a private folder."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def cache() -> Path:
    """Return the user's cache folder for this library, or `private` where it cannot be written.

    A shared installation may be used by somebody without a home, as in a container.
    """
    import pooch

    folder = Path(pooch.os_cache("physics-twins"))
    return folder if can_be_made(folder) else private()


def can_be_made(folder: Path) -> bool:
    """Return whether files can be written into a folder that is there, or made there."""
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


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
    if not can_be_made(Path(named).expanduser() / "numba"):
        os.environ["NUMBA_CACHE_DIR"] = str(private() / "numba")
