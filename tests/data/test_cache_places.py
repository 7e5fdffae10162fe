"""Places for files that may be lost, also for somebody without a home."""

import os
import subprocess
import sys

import pytest

from physics_twins.data import cache, keep_compiled_code
from physics_twins.data.places import private


@pytest.fixture
def no_home(tmp_path, monkeypatch):
    (tmp_path / "taken").touch()  # a file, below which nobody can make a folder
    monkeypatch.setenv("HOME", str(tmp_path / "taken"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_the_cache_is_the_users_where_it_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache() == tmp_path / "physics-twins"


def test_without_a_home_the_cache_is_private_and_the_same_again(tmp_path, no_home):
    folder = cache()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o077 == 0
    assert cache() == folder


def test_a_folder_that_others_can_write_is_never_taken(tmp_path, no_home):
    known = cache()
    known.chmod(0o777)
    other = cache()
    assert other != known
    assert other.stat().st_mode & 0o077 == 0
    known.rmdir()
    known.symlink_to(tmp_path)
    assert cache() not in (known, tmp_path)


def test_compiled_code_is_kept_beside_the_library_or_in_the_cache_where_that_can_be_written():
    code = "import os, physics_twins; print(os.environ.get('NUMBA_CACHE_DIR'))"
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "None"


def test_compiled_code_goes_to_a_private_folder_from_a_shared_installation(no_home, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    keep_compiled_code()
    assert os.environ["NUMBA_CACHE_DIR"] == str(private() / "numba")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
