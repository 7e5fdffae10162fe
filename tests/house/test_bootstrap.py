"""The launcher says what is missing, repeats what was interrupted, and passes failures on."""

import ast
import subprocess
import sys
from pathlib import Path

import bootstrap
import pytest

ROOT = Path(bootstrap.__file__).parent


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with pins, in which set-ups are recorded and cost nothing."""
    for name in bootstrap.PINNED_BY:
        (tmp_path / name).write_text("pins\n")
    venv = tmp_path / ".venv"
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", venv)
    monkeypatch.setattr(bootstrap, "BIN", venv / "bin")
    monkeypatch.setattr(bootstrap, "PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(bootstrap, "STAMP", venv / "stamp")
    monkeypatch.setattr(bootstrap, "LOG", venv / "log")
    done = []

    def make_venv():
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        bootstrap.PYTHON.unlink(missing_ok=True)
        bootstrap.PYTHON.symlink_to(sys.executable)
        bootstrap.STAMP.unlink(missing_ok=True)
        done.append("venv")

    monkeypatch.setattr(bootstrap, "make_venv", make_venv)
    monkeypatch.setattr(bootstrap, "install", lambda: done.append("install"))
    return tmp_path, done


def test_a_second_set_up_does_nothing(clone):
    _, done = clone
    bootstrap.set_up()
    bootstrap.set_up()
    assert done == ["venv", "install"]


def test_changed_pins_are_installed_into_the_same_venv(clone):
    folder, done = clone
    bootstrap.set_up()
    (folder / "constraints.txt").write_text("other pins\n")
    bootstrap.set_up()
    assert done == ["venv", "install", "install"]


def test_an_interrupted_set_up_is_repeated_from_the_start(clone, monkeypatch):
    _, done = clone

    def interrupted():
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(bootstrap, "install", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bootstrap.set_up()
    bootstrap.set_up()
    assert done == ["venv", "venv", "install"]


def test_a_venv_whose_python_is_gone_is_rebuilt(clone):
    folder, done = clone
    bootstrap.set_up()
    bootstrap.PYTHON.unlink()
    bootstrap.PYTHON.symlink_to(folder / "removed" / "python3.11")
    bootstrap.set_up()
    assert done == ["venv", "install", "venv", "install"]


def test_a_moved_clone_is_rebuilt(clone, monkeypatch, tmp_path):
    _, done = clone
    bootstrap.set_up()
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in bootstrap.PINNED_BY:
        (moved / name).write_text("pins\n")
    monkeypatch.setattr(bootstrap, "ROOT", moved)
    bootstrap.set_up()
    assert done == ["venv", "install", "venv", "install"]


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_is_told_what_to_install(monkeypatch, module):
    found = bootstrap.importlib.util.find_spec
    monkeypatch.setattr(
        bootstrap.importlib.util, "find_spec", lambda name: None if name == module else found(name)
    )
    with pytest.raises(bootstrap.Refusal, match=f"no `{module}`.*\n.*apt install python3-venv"):
        bootstrap.make_venv()


def test_an_old_python_without_a_newer_one_says_what_is_needed(monkeypatch):
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    with pytest.raises(bootstrap.Refusal, match=r"Python 3\.11 or newer is needed"):
        bootstrap.use_new_enough_python(["test"])


def test_an_old_python_goes_on_in_a_newer_one_and_passes_its_status_on(monkeypatch, tmp_path):
    newer = tmp_path / "python3.12"
    newer.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\nexit 7\n')
    newer.chmod(0o755)
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 2))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        bootstrap.use_new_enough_python(["test"])
    assert left.value.code == 7


def test_old_pythons_can_read_the_launcher():
    ast.parse((ROOT / "bootstrap.py").read_text(), feature_version=(3, 7))


def test_a_folder_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    # A file in place of the folder refuses root too.
    (tmp_path / "clone").write_text("")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path / "clone")
    with pytest.raises(bootstrap.Refusal, match="cannot be written"), bootstrap.only_one_at_a_time():
        pass


def test_a_second_set_up_waits_for_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    other = (
        "import pathlib, bootstrap\n"
        f"bootstrap.ROOT = pathlib.Path({str(tmp_path)!r})\n"
        "with bootstrap.only_one_at_a_time(): print('mine')"
    )
    with bootstrap.only_one_at_a_time():
        waiting = subprocess.Popen(
            [sys.executable, "-c", other], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert waiting.stdout
        assert "waiting" in waiting.stdout.readline()
    assert waiting.communicate(timeout=20)[0] == "mine\n"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "WARNING: Retrying (Retry(total=4)) after ConnectionError\nERROR: No distribution",
            "index was not reachable",
        ),
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: numba 0.61 needs Python < 3.14", "could not install"),
    ],
)
def test_a_failed_installation_says_why_and_shows_pips_last_lines(log, reason):
    told = bootstrap.why_pip_failed(log)
    assert reason in told
    assert log.splitlines()[-1] in told


def test_pip_that_fails_is_told_with_its_log(clone, monkeypatch):
    monkeypatch.undo()
    folder, _ = clone
    fake = folder / "python"
    fake.write_text("#!/bin/sh\necho 'Collecting numpy'\necho 'ERROR: broken'\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(bootstrap, "ROOT", folder)
    monkeypatch.setattr(bootstrap, "PYTHON", fake)
    monkeypatch.setattr(bootstrap, "LOG", folder / "log")
    with pytest.raises(bootstrap.Refusal, match="ERROR: broken"):
        bootstrap.install()
    assert (folder / "log").read_text() == "Collecting numpy\nERROR: broken\n"


def test_a_failing_check_fails_the_command_even_when_tests_pass(monkeypatch, capfd):
    monkeypatch.setattr(bootstrap, "call", lambda command: 3 if command[0].name == "ruff" else 0)
    assert bootstrap.test([]) == 1
    assert "Failed checks, see above: ruff check, ruff format" in capfd.readouterr().out


def test_the_status_of_the_tests_is_passed_on(monkeypatch):
    monkeypatch.setattr(bootstrap, "call", lambda command: 5 if "pytest" in command else 0)
    assert bootstrap.test([]) == 5


def test_the_main_job_says_what_it_skipped(monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "call", lambda command: 0)
    monkeypatch.setattr(bootstrap, "real_file", lambda: "")
    assert bootstrap.run([]) == 0
    assert "twins data fetch pulsar/askap_frb_28.fil" in capsys.readouterr().out


def test_the_main_job_searches_the_real_file_where_there_is_one(monkeypatch):
    commands = []
    monkeypatch.setattr(bootstrap, "call", lambda command: commands.append(command) or 0)
    monkeypatch.setattr(bootstrap, "real_file", lambda: "/data/28.fil")
    assert bootstrap.run([]) == 0
    assert [command[2] for command in commands] == [
        "pulsar/1_simulate",
        "pulsar/4_infer",
        "pulsar/4_infer",
    ]
    assert "filterbank_path=/data/28.fil" in commands[2]


def test_the_main_job_stops_at_its_first_failure(monkeypatch):
    monkeypatch.setattr(bootstrap, "call", lambda command: 4)
    assert bootstrap.run([]) == 4


def test_an_unknown_command_shows_the_known_ones(capsys):
    assert bootstrap.main(["demo"]) == 2
    assert "run|test|coverage|lab|book|bench|setup" in capsys.readouterr().out


def test_jupyterlab_is_reachable_from_this_machine_only_and_keeps_its_token(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    monkeypatch.setattr(bootstrap, "call", lambda command: commands.append(command) or 0)
    monkeypatch.setenv("JUPYTERLAB_WORKSPACES_DIR", "")
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", "")
    bootstrap.lab(["--no-browser"])
    assert "--ServerApp.ip=127.0.0.1" in commands[-1]
    assert not any("token" in str(part) or "password" in str(part) for part in commands[-1])


def test_jupyterlab_opens_the_start_page_in_a_workspace_imported_once(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setenv("JUPYTERLAB_WORKSPACES_DIR", "")
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", "")
    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    monkeypatch.setattr(bootstrap, "call", lambda command: commands.append(command) or 0)
    bootstrap.lab([])
    assert [str(part) for part in commands[0][1:]] == [
        "lab",
        "workspaces",
        "import",
        bootstrap.WORKSPACE,
    ]
    assert (ROOT / bootstrap.WORKSPACE).is_file()
    copies, starts = commands[1:]
    assert copies[1:] == ["-m", "twin_panels.copies", ROOT, ROOT]
    assert f"--LabApp.default_url={bootstrap.START_PAGE}" in starts
    assert bootstrap.os.environ["PHYSICS_TWINS_RUNS"] == str(ROOT / "runs")

    folder = Path(bootstrap.os.environ["JUPYTERLAB_WORKSPACES_DIR"])
    assert tmp_path in folder.parents
    folder.mkdir(parents=True)
    (folder / "start-1234.jupyterlab-workspace").write_text("{}")
    bootstrap.lab([])
    assert len(commands) == 5  # what the user opened is not overwritten
