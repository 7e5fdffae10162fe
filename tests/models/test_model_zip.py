import pickle
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from small_models import net, rewrite_manifest, save

from physics_twins import models
from physics_twins.models import ModelError, import_zip


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine"


@pytest.fixture
def model(tmp_path):
    """A colleague's model."""
    return save(root=tmp_path / "theirs")


@pytest.fixture
def file(model, tmp_path):
    return write_zip(model, tmp_path / "model.zip")


def write_zip(model, path, *, compression=zipfile.ZIP_STORED, changes=(), without=()):
    """Write the model's files, and then the changed or added ones, as entries and contents."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for each in sorted(model.folder.iterdir()):
            if each.name not in without:
                archive.writestr(each.name, each.read_bytes())
        for entry, content in changes:
            archive.writestr(entry, content)
    return path


def files_below(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def refused(path, message, tmp_path, root):
    """Check that a zip file is refused and that nothing was written anywhere."""
    before = files_below(tmp_path)
    with pytest.raises(ModelError, match=message) as refusal:
        import_zip(path)
    assert path.name in str(refusal.value)
    assert files_below(tmp_path) == before
    assert not list(root.rglob("*"))


def test_an_imported_model_is_the_one_in_the_zip_file(model, file, root):
    got = import_zip(file)
    assert got.folder == root / "classifier" / "1"
    assert got.manifest_sha256 == model.manifest_sha256
    assert [p.read_bytes() for p in sorted(got.folder.iterdir())] == [
        p.read_bytes() for p in sorted(model.folder.iterdir())
    ]
    got.load_into(net(seed=3))


def test_a_zip_file_of_another_program_is_read(model, tmp_path):
    path = write_zip(model, tmp_path / "model.zip", compression=zipfile.ZIP_DEFLATED)
    assert import_zip(path).manifest_sha256 == model.manifest_sha256


def test_a_model_of_the_same_address_is_refused_and_the_old_one_stays(file, tmp_path):
    mine = save(seed=99)
    with pytest.raises(ModelError, match="classifier/1 is there already"):
        import_zip(file)
    assert models.find("classifier") == mine


@pytest.mark.parametrize(
    "name",
    [
        "../escaped.json",
        "../../escaped.json",
        "/tmp/escaped.json",  # noqa: S108
        "sub/file.json",
        "..\\escaped.json",
        "C:\\escaped.json",
        "folder/",
        "config.json/",
        ".hidden.json",
        "",
    ],
)
def test_a_name_that_leaves_the_folder_is_refused(model, name, tmp_path, root):
    path = write_zip(model, tmp_path / "slip.zip", changes=[(zipfile.ZipInfo(name or "x"), b"{}")])
    if not name:
        path.write_bytes(path.read_bytes().replace(b"x{}", b"\0{}"))
    refused(path, "no plain file name|no sound|twice|is refused", tmp_path, root)


def test_a_name_with_a_zero_byte_is_refused(model, tmp_path, root):
    path = write_zip(model, tmp_path / "zero.zip", changes=[("notes.jsonX.json", b"{}")])
    path.write_bytes(path.read_bytes().replace(b"notes.jsonX", b"notes.json\0"))
    refused(path, "no plain file name", tmp_path, root)


def test_a_link_is_refused(model, tmp_path, root):
    link = zipfile.ZipInfo("config.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = write_zip(
        model, tmp_path / "link.zip", changes=[(link, b"/etc/passwd")], without=["config.json"]
    )
    refused(path, r"config\.json is a link", tmp_path, root)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("name", ["config.json", "CONFIG.json"])
def test_a_file_that_is_there_twice_is_refused(model, name, tmp_path, root):
    path = write_zip(model, tmp_path / "twice.zip", changes=[(name, b"{}")])
    refused(path, f"{name} is (changed|not listed)", tmp_path, root)


@pytest.mark.parametrize("name", ["model.pkl", "model.pt", "setup.py"])
def test_a_file_that_may_run_code_is_refused(model, name, tmp_path, root):
    path = write_zip(model, tmp_path / "code.zip", changes=[(name, b"{}")])
    refused(path, "run code", tmp_path, root)


def test_a_pickle_in_the_place_of_the_weights_is_never_loaded(model, tmp_path):
    (model.folder / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))
    rewrite_manifest(model.folder)
    got = import_zip(write_zip(model, tmp_path / "pickle.zip"))
    with pytest.raises(ModelError, match="no sound safetensors file"):
        got.load_into(net())


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "config.json", "README.md"])
def test_a_missing_file_is_refused(model, name, tmp_path, root):
    path = write_zip(model, tmp_path / "missing.zip", without=[name])
    refused(path, name, tmp_path, root)


def test_a_file_that_is_not_listed_is_refused(model, tmp_path, root):
    path = write_zip(model, tmp_path / "more.zip", changes=[("notes.md", b"hello")])
    refused(path, r"notes\.md is not listed", tmp_path, root)


def test_a_changed_file_is_refused(model, tmp_path, root):
    data = (model.folder / "README.md").read_bytes().replace(b"0.97", b"0.99")
    path = write_zip(model, tmp_path / "m.zip", changes=[("README.md", data)], without=["README.md"])
    refused(path, r"README\.md is changed", tmp_path, root)


def bomb(model, tmp_path, n_bytes):
    """A sound model, all of whose hashes fit, with a text of nothing but spaces."""
    (model.folder / "README.md").write_bytes(b" " * n_bytes)
    rewrite_manifest(model.folder)
    return write_zip(model, tmp_path / "bomb.zip", compression=zipfile.ZIP_DEFLATED)


def test_a_bomb_that_says_its_size_is_refused(model, tmp_path, root):
    refused(bomb(model, tmp_path, 10_000_000), "unpacks to", tmp_path, root)


@pytest.mark.parametrize("said", [100, 0])
def test_a_bomb_that_says_another_size_is_refused(model, tmp_path, root, said):
    path = bomb(model, tmp_path, 10_000_000)
    size, false = struct.pack("<I", 10_000_000), struct.pack("<I", said)
    assert path.read_bytes().count(size) == 2  # before the content and in the directory at the end
    path.write_bytes(path.read_bytes().replace(size, false))
    refused(path, "unpacks to|no sound|changed", tmp_path, root)


def test_a_bomb_whose_manifest_agrees_with_the_false_size_writes_no_more_than_that(
    model, tmp_path, root, monkeypatch
):
    def lie(manifest):
        manifest["files"]["README.md"]["bytes"] = 100

    bomb(model, tmp_path, 10_000_000)
    rewrite_manifest(model.folder, lie)
    path = write_zip(model, tmp_path / "bomb.zip", compression=zipfile.ZIP_DEFLATED)
    size = struct.pack("<I", 10_000_000)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 100)))
    refused(path, "no sound|changed", tmp_path, root)


def test_a_manifest_of_many_megabytes_is_refused(model, tmp_path, root):
    path = write_zip(
        model,
        tmp_path / "big.zip",
        compression=zipfile.ZIP_DEFLATED,
        changes=[("manifest.json", b"{}" + b" " * 5_000_000)],
        without=["manifest.json"],
    )
    refused(path, "unpacks to 50", tmp_path, root)


def test_too_many_files_are_refused(model, tmp_path, root):
    changes = [(f"notes{n}.md", b"") for n in range(70)]
    refused(write_zip(model, tmp_path / "many.zip", changes=changes), "is not listed", tmp_path, root)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_way_of_packing_is_refused(model, method, tmp_path, root):
    path = write_zip(model, tmp_path / "packed.zip", compression=method)
    refused(path, "another method", tmp_path, root)


def test_what_is_no_zip_file_is_refused(tmp_path, root):
    path = tmp_path / "text.zip"
    path.write_text("hello")
    refused(path, "no sound zip file", tmp_path, root)


def test_a_broken_zip_file_never_gives_a_model_with_other_content(model, file, root):
    data = file.read_bytes()
    for position in range(0, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 0x10
        Path("broken.zip").write_bytes(changed)
        try:
            got = import_zip("broken.zip")
        except ModelError:
            continue
        assert got.manifest_sha256 == model.manifest_sha256


def test_an_import_that_is_stopped_leaves_no_half_model(file, root, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stop)
        with pytest.raises(KeyboardInterrupt):
            import_zip(file)
    assert files_below(root) == []
    assert str(import_zip(file)) == "classifier/1"
