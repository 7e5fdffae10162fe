"""Set up `.venv` when needed, then run one of the project's commands; nothing but Python is required.

    python3 bootstrap.py run|test|coverage|lab|book|bench|setup|size|pins|pictures|site [more arguments]

The Makefile only calls this file. It is written so that an old Python can still read it and say so.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
# Written last: a set-up that was interrupted has no stamp and is repeated from the start.
STAMP = VENV / "set-up-is-complete"
LOG = VENV / "set-up.log"
PINNED_BY = ("pyproject.toml", "constraints.txt")
INSTALL = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-e", ".[lab,book,dev]"]
NOTIFICATIONS = "@jupyterlab/apputils-extension:notification"
WORKSPACE = "binder/start.jupyterlab-workspace"
START_PAGE = "/lab/workspaces/start/tree/my/notebooks/start.ipynb"
REAL_FILE = "pulsar/askap_frb_28.fil"


class Refusal(Exception):
    """Something is missing; the text says what, in one or two lines."""


def main(arguments):
    """Run the command named first; return its exit status."""
    commands = {"run": run, "test": test, "lab": lab, "book": book, "bench": bench, "pins": pins}
    commands.update({"pictures": pictures, "site": site, "coverage": coverage})
    name, *extra = arguments or ["help"]
    if name not in commands and name not in ("setup", "size"):
        print(__doc__)
        return 0 if name in ("help", "-h", "--help") else 2
    try:
        use_new_enough_python(arguments)
        if name == "size":  # needs nothing that is installed
            return subprocess.call([sys.executable, str(ROOT / "tests" / "size.py")])
        set_up()
        return commands[name](extra) if name in commands else 0
    except Refusal as refusal:
        print(f"bootstrap: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


# --- set-up ---------------------------------------------------------------------------------------


def use_new_enough_python(arguments):
    """Go on in a newer Python from PATH when this one is too old."""
    if sys.version_info >= OLDEST_PYTHON:
        return
    for minor in range(20, OLDEST_PYTHON[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        # A name on PATH may be a shim of a version that is not installed: try it.
        if newer and subprocess.call([newer, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            print(f"Python {platform.python_version()} is too old: going on with {newer}", flush=True)
            raise SystemExit(subprocess.call([newer, str(Path(__file__).resolve()), *arguments]))
    raise Refusal(
        f"Python 3.{OLDEST_PYTHON[1]} or newer is needed, this is {platform.python_version()} "
        "and none was found on PATH.\n"
        "  Install one, for instance: apt install python3.11 python3.11-venv"
    )


def set_up():
    """Make `.venv` hold what the pins ask for; do nothing when it already does."""
    if is_set_up():
        return
    with only_one_at_a_time():
        if is_set_up():
            return
        if can_be_updated():
            print("The pins have changed: updating .venv, 1 to 5 minutes ...", flush=True)
        else:
            make_venv()
            print("Installing about 2 GB of packages, 3 to 5 minutes the first time ...", flush=True)
        STAMP.unlink(missing_ok=True)
        install()
        STAMP.write_text(fingerprint())


def is_set_up():
    """Whether `.venv` was completed with these very pins and still works."""
    return STAMP.is_file() and STAMP.read_text() == fingerprint() and venv_works()


def can_be_updated():
    """Whether `.venv` is complete, works, and was made by this Python in this folder."""
    here = fingerprint().splitlines()[0]
    return STAMP.is_file() and STAMP.read_text().splitlines()[:1] == [here] and venv_works()


def fingerprint():
    """Two lines: where and with which Python, and the hash of the pins."""
    pins_hash = hashlib.sha256(b"\0".join((ROOT / name).read_bytes() for name in PINNED_BY)).hexdigest()
    version = ".".join(map(str, sys.version_info[:2]))
    where = [sys.implementation.name, version, sys.platform, platform.machine(), str(ROOT)]
    return " ".join(where) + "\n" + pins_hash + "\n"


def venv_works():
    """Whether the interpreter of `.venv` starts: a system upgrade may have removed its base."""
    if not PYTHON.exists():
        return False
    return subprocess.call([str(PYTHON), "-c", ""], stderr=subprocess.DEVNULL) == 0


@contextlib.contextmanager
def only_one_at_a_time():
    """Let a second set-up of this folder wait for the first."""
    try:
        (ROOT / ".venv.lock").touch()
    except OSError as error:
        raise Refusal(f"this folder cannot be written: {ROOT} ({error.strerror})") from None
    with open(ROOT / ".venv.lock", "a") as handle:
        wait_for(handle)
        yield


def wait_for(handle):
    """Hold the lock on a file until it is closed."""
    try:
        import fcntl
    except ImportError:  # Windows: one user, one set-up
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another set-up of this folder is running: waiting for it.", flush=True)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks


def make_venv():
    """Create `.venv` anew."""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            raise Refusal(
                f"this Python ({sys.executable}) has no `{module}`.\n"
                "  Install python3-venv: apt install python3-venv"
            )
    again = "Rebuilding" if VENV.exists() else "Creating"
    print(f"{again} .venv with Python {platform.python_version()}.", flush=True)
    try:
        shutil.rmtree(VENV, ignore_errors=True)
        done = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True)
    except OSError as error:
        raise Refusal(f"cannot create {VENV}: {error}") from None
    if done.returncode:
        raise Refusal(f"cannot create {VENV}:\n{last_lines(done.stdout + done.stderr)}")


def install(options=("-c", "constraints.txt")):
    """Install the project and what it needs into `.venv`, showing one line of progress."""
    # The file is read by old Pythons too: no parenthesised `with`.
    with open(LOG, "w") as log, pip_install(options) as pip:
        for line in pip.stdout or ():
            log.write(line)
            show_progress(line)
    if pip.returncode:
        raise Refusal(why_pip_failed(LOG.read_text()))
    show_progress("Installed.", end="\n")


def pip_install(options):
    """Start pip; its whole output comes through one pipe."""
    return subprocess.Popen(
        [str(PYTHON), *INSTALL, *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PIP_USER": "0"},
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def show_progress(line, end=""):
    """Overwrite one line of a terminal; say nothing where there is none."""
    words = line.split()
    if sys.stdout.isatty() and words and words[0] in ("Collecting", "Installing", "Installed."):
        print("\r\033[K" + " ".join(words)[:70], end=end, flush=True)


def why_pip_failed(log):
    """What to tell the user, from pip's own words."""
    unreachable = r"Retry\(|NewConnectionError|Failed to establish|name resolution|ProxyError|timed out"
    reason = "pip could not install the packages"
    if re.search(unreachable, log):
        reason = "the package index was not reachable; check the network or pip's own configuration"
    elif "No space left" in log:
        reason = "the disk is full; about 2 GB are needed"
    return f"{reason}.\n{last_lines(log)}\n  (all of it: {LOG})"


def last_lines(text, n=8):
    """The end of a program's output, indented."""
    return "\n".join("  " + line for line in text.strip().splitlines()[-n:])


# --- commands -------------------------------------------------------------------------------------


def run(extra):
    """The main job: simulate an observation, search it, then search a real telescope file."""
    twins = [BIN / "twins", "run"]
    status = call([*twins, "pulsar/1_simulate", *extra]) or call([*twins, "pulsar/4_infer", *extra])
    if status:
        return status
    path = real_file()
    if path:
        print(f"\nSearching a real observation: {path}", flush=True)
        wide = ["-p", f"filterbank_path={path}", "-p", "dm_max_pc_cm3=600"]
        return call([*twins, "pulsar/4_infer", *wide, *extra])
    print(f"\nSkipped the real observation: {REAL_FILE} is not here and could not be downloaded.")
    print(f"  With a network: .venv/bin/twins data fetch {REAL_FILE}, then make run again.")
    return 0


def real_file():
    """Where the real observation is, downloaded once where it is not here; "" without a network."""
    look = """
import sys
from physics_twins.data import find_data_file
from physics_twins.pulsar.real_files import fetch
name = sys.argv[1]
try:
    print(find_data_file(name) or fetch(name, timeout_s=5))
except (OSError, ValueError) as error:
    print(f"{name}: {error}", file=sys.stderr)
"""
    arguments = [str(PYTHON), "-c", look, REAL_FILE]
    return subprocess.run(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()


def test(extra):
    """Every check of the project, then its tests; extra arguments go to pytest."""
    notebooks = [
        p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts
    ]
    checks = {
        "ruff check": [BIN / "ruff", "check", "."],
        "ruff format": [BIN / "ruff", "format", "--check", "."],
        "basedpyright": [BIN / "basedpyright"],
        "import-linter": [BIN / "lint-imports"],
        "stripped notebooks": [BIN / "nbstripout", "--verify", "--keep-id", *sorted(notebooks)],
    }
    failed = [name for name, command in checks.items() if titled(name, command)]
    status = titled("pytest", [PYTHON, "-m", "pytest", "-n", "logical", "--durations=40", *extra])
    if failed:
        print(f"Failed checks, see above: {', '.join(failed)}", flush=True)
    return status or int(bool(failed))


def coverage(extra):
    """The tests, and which lines of `lib` they run: a fifth slower, so `test` leaves it out."""
    return test(["--cov=lib", "--cov-report=term:skip-covered", *extra])


def lab(extra):
    """JupyterLab on the user's copies of the notebooks: this machine only, with a token."""
    # JupyterLab asks each new user whether to fetch news; here it neither asks nor fetches.
    settings = VENV / "share" / "jupyter" / "lab" / "settings"
    with contextlib.suppress(PermissionError):  # somebody else's installation
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "overrides.json").write_text(json.dumps({NOTIFICATIONS: {"fetchNews": "false"}}))
    # Kept here, so that neither a user's own workspaces nor another clone's are touched. Once there, it
    # remembers what the user opened in it; the address puts the start page in front of that.
    workspaces = VENV / "share" / "jupyter" / "lab" / "workspaces"
    if not os.access(VENV, os.W_OK):
        workspaces = Path(tempfile.mkdtemp(prefix="twins-workspaces-"))
    os.environ["JUPYTERLAB_WORKSPACES_DIR"] = str(workspaces)
    if not any(workspaces.glob("start-*")):
        call([BIN / "jupyter", "lab", "workspaces", "import", WORKSPACE])
    # Somebody else's installation is worked with in a folder of one's own.
    place = ROOT if os.access(ROOT, os.W_OK) else Path.home() / "physics-twins"
    status = call([PYTHON, "-m", "twin_panels.copies", ROOT, place])
    if status:
        return status
    # The runs that a terminal in this folder sees, not others beside the copies.
    os.environ["PHYSICS_TWINS_RUNS"] = os.environ.get("PHYSICS_TWINS_RUNS") or str(place / "runs")
    options = [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={place}",
        f"--LabApp.default_url={START_PAGE}",
        # Without a terminal of its own the lab starts login shells, whose profile forgets the path.
        f"--ServerApp.terminado_settings=shell_command={os.environ.get('SHELL') or 'sh'}",
    ]
    return call([BIN / "jupyter", "lab", *options, *extra])


def book(extra):
    """Run the notebooks and build the book from them."""
    return call([PYTHON, "book/build.py", *extra])


def bench(extra):
    """Every benchmark, its figures kept as JSON too; the first failure's status is returned."""
    results = ROOT / "benchmarks" / "results"
    results.mkdir(parents=True, exist_ok=True)
    status = 0
    for script in sorted((ROOT / "benchmarks").glob("[a-z]*.py")):
        kept = ["--json", results / f"{script.stem}.json"]
        status = titled(script.stem, [PYTHON, script, *kept, *extra]) or status
    return status


def pictures(extra):
    """The pictures of README and start page, taken from real runs."""
    return call([PYTHON, "book/take_pictures.py", *extra])


def site(extra):
    """The first ten minutes and every panel's picture as pages that any web server shows."""
    return call([PYTHON, "book/make_site.py", *extra])


def pins(extra):
    """Take the newest versions that pyproject.toml allows and write them to constraints.txt."""
    STAMP.unlink(missing_ok=True)
    install(["--upgrade", "--upgrade-strategy", "eager"])
    return call([PYTHON, ".ci/write_pins.py", *extra])


def titled(name, command):
    """Run one step under its name."""
    print(f"\n== {name}", flush=True)
    return call(command)


def call(command):
    """Run a program of `.venv` from the project's folder, with `.venv` first on PATH."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(VENV)}
    environment.pop("PYTHONHOME", None)
    try:
        return subprocess.call([str(part) for part in command], cwd=ROOT, env=environment)
    except FileNotFoundError:
        raise Refusal(f"{command[0]} is missing: delete .venv and run this again") from None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
