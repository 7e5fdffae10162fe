"""Places of real files, and for files that may be lost, also for somebody without a home."""

import hashlib
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from physics_twins.data import cache, fetch, find_data_file, keep_compiled_code
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


def test_the_named_folder_is_looked_in_before_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_DATA", str(tmp_path))
    here = tmp_path / "pulsar" / "made_up.fil"
    here.parent.mkdir()
    here.touch()
    assert find_data_file("pulsar/made_up.fil") == here.resolve()


def test_no_folder_beside_the_project_is_looked_in(tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSICS_TWINS_DATA", raising=False)
    inside = tmp_path / "clone" / "notebooks" / "pulsar"
    inside.mkdir(parents=True)
    (inside / "1_simulate.ipynb").touch()
    beside = tmp_path / "shared" / "data" / "made_up.fil"
    beside.parent.mkdir(parents=True)
    beside.touch()
    monkeypatch.chdir(inside)
    assert find_data_file("made_up.fil") is None


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        """Say nothing."""


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Fetches a file from a server of this machine into an empty cache."""
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "small.fil").write_bytes(b"content")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    handler = partial(_Silent, directory=str(tmp_path / "public"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/small.fil"
        yield lambda sha256: fetch("pulsar/small.fil", address, sha256)
        server.shutdown()


def test_a_fetched_file_is_checked_and_then_found(fetched):
    path = fetched(hashlib.sha256(b"content").hexdigest())
    assert path.read_bytes() == b"content"
    assert find_data_file("pulsar/small.fil") == path


def test_a_file_with_another_hash_is_refused(fetched):
    with pytest.raises(ValueError, match="hash"):
        fetched(hashlib.sha256(b"other").hexdigest())
    assert find_data_file("pulsar/small.fil") is None
