import json
import os
import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import small_models
import torch
import yaml
from safetensors.torch import load
from small_models import METRICS, net, rewrite_manifest, save
from sources import ROOT, TESTS

from physics_twins import models
from physics_twins.data import file_sha256
from physics_twins.models import Card, ModelError
from physics_twins.models import folder as one_folder
from physics_twins.models.folder import open_model, write
from physics_twins.runs import provenance

MEGABYTE = 1_000_000
FILES = ["README.md", "config.json", "manifest.json", "manifest.sha256", "model.safetensors"]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch, no_shipped_models):
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


@pytest.fixture
def model():
    return save()


@pytest.fixture
def folder(model):
    return model.folder


def states_equal(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


class Holder(torch.nn.Module):
    """One weight under any name."""

    def __init__(self, name, weight):
        super().__init__()
        self.register_buffer(name, weight)


class Marker:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


# What is kept.


def test_a_model_is_a_folder_in_the_hugging_face_layout(folder, root):
    assert folder == root / "classifier" / "1"
    assert sorted(os.listdir(folder)) == FILES


def test_weights_come_back_bit_by_bit(model):
    other = net(seed=1)
    assert not states_equal(net(), other)
    model.load_into(other)
    assert states_equal(net(), other)


def test_saved_again_after_loading_the_weights_have_the_same_hash(model):
    other = net(seed=1)
    model.load_into(other)
    again = save(weights=other)
    assert again.manifest.version == 2
    files = [m.manifest.files["model.safetensors"].sha256 for m in (model, again)]
    assert files[0] == files[1]


def test_weights_of_every_type_come_back(tmp_path):
    types = [torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.complex64]
    weights = {str(kind): torch.ones(2, 3).to(kind) for kind in types}
    weights["transposed"] = torch.arange(6.0).reshape(2, 3).T
    weights["tied"] = weights["transposed"]
    read = load(save(weights=weights).read("model.safetensors"))
    assert all(torch.equal(read[name], weights[name]) for name in weights)
    assert {value.dtype for value in read.values()} == {value.dtype for value in weights.values()}


def test_a_header_that_begins_like_a_pickle_is_no_pickle():
    """A header of 640 bytes begins with the bytes 80 02, as pickles do."""
    model = save(weights={"w" * 553: torch.ones(2)})
    assert model.read("model.safetensors")[:2] == b"\x80\x02"
    model.load_into(Holder("w" * 553, torch.zeros(2)))


def test_the_manifest_says_where_a_model_comes_from(tmp_path):
    data = tmp_path / "data.nc"
    data.write_bytes(b"\x89HDF, for example")
    manifest = save(inputs=[data]).manifest
    assert manifest.parameters == {"learning_rate": 0.001, "n_epochs": 3}
    assert manifest.seed == 7
    assert manifest.code["source_sha256"] == provenance.source_sha256()
    assert manifest.machine["packages"]["torch"] == torch.__version__
    assert manifest.inputs == [{"name": "data.nc", "sha256": file_sha256(data)}]
    assert manifest.metrics["accuracy"].model_dump() == METRICS["accuracy"] | {"unit": ""}


def test_a_manifest_names_no_folder_and_no_host_of_its_machine(tmp_path, folder):
    text = (folder / "manifest.json").read_text() + (folder / "README.md").read_text()
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text
    assert f'"{os.uname().nodename}"' not in text


def test_sha256sum_finds_every_file_unchanged(folder):
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "manifest.sha256"],
        cwd=folder,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == len(FILES) - 1


# The card.


def test_the_card_has_a_header_with_the_metrics(model):
    header = yaml.safe_load(model.card.split("---\n")[1])
    assert header["license"] == "bsd-3-clause"
    assert header["library_name"] == "physics-twins"
    assert "pulsar" in header["tags"]
    (entry,) = header["model-index"]
    assert entry["name"] == "classifier"
    (result,) = entry["results"]
    assert {m["type"]: m["value"] for m in result["metrics"]} == {
        "accuracy": 0.97,
        "width_error_s": 0.002,
    }
    assert {"task", "dataset"} < set(result)


def test_the_card_shows_errors_beside_limit_and_baseline(model):
    assert "| accuracy | 0.970 +- 0.010 | 0.99 | 0.9 |" in model.card
    assert "| width_error_s | 0.00200 +- 0.00010 s |  |  |" in model.card
    for title in ("What it is", "Data", "Limits", "How to reproduce it"):
        assert f"\n## {title}\n" in model.card
    assert '"learning_rate": 0.001' in model.card


def test_nothing_in_a_card_can_break_its_header():
    card = Card(summary="---\nlicense: gpl", data="d", limits="l", tags=("a: b", "- c\n---"))
    header = yaml.safe_load(save(card=card).card.split("\n---\n\n# ")[0].removeprefix("---\n"))
    assert header["tags"][-2:] == ["a: b", "- c\n---"]
    assert header["license"] == "bsd-3-clause"


def test_a_card_without_limits_is_refused():
    with pytest.raises(ModelError, match="limits is empty"):
        Card(summary="s", data="d", limits=" ")


# What cannot be saved.


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_not_saved(wrong, root):
    broken = net()
    with torch.no_grad():
        broken.head.bias[1] = wrong
    with pytest.raises(ModelError, match=r"head\.bias.* values that are not finite"):
        save(weights=broken)
    assert not list(root.rglob("*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "../up"}, "lowercase letters"),
        ({"name": "Up"}, "lowercase letters"),
        ({"metrics": {"loss": np.nan}}, "metrics: 'loss.value': Input should be a finite number"),
        ({"metrics": {"loss": {"value": 1.0, "error": -1.0}}}, "metrics: 'loss.error'"),
        ({"metrics": {"loss": {"value": 1.0, "spread": 2.0}}}, "metrics: 'loss.spread'"),
        ({"metrics": {"a | b": 1.0}}, "metrics: 'a | b"),
        ({"metrics": {"loss": {"value": 1.0, "unit": "\x1b[2J"}}}, "metrics: 'loss.unit'"),
        ({"seed": "7"}, "'seed': Input should be a valid integer"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_left(options, message, root):
    with pytest.raises(ModelError, match=message.replace("|", r"\|")):
        save(**options)
    assert not list(root.rglob("*"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"config": {"size": object()}}, TypeError, "not JSON serializable"),
        ({"parameters": {"rate": np.inf}}, ValueError, "not JSON compliant"),
    ],
)
def test_what_no_file_can_hold_is_refused_and_nothing_is_left(options, error, message, root):
    with pytest.raises(error, match=message):
        save(**options)
    assert not list(root.rglob("*"))


# Whole or not at all.


@pytest.mark.parametrize(("where", "step"), [(one_folder, "replacing"), (Path, "rename")])
def test_a_save_that_is_stopped_leaves_no_half_version(where, step, root, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(where, step, stop)
        with pytest.raises(KeyboardInterrupt):
            save()
    assert models.available() == []
    assert [path for path in root.rglob("*") if path.is_file()] == []
    assert save().manifest.version == 1


def test_a_save_that_is_killed_leaves_no_version(root):
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1]);"
        "from pathlib import Path; import small_models;"
        "Path.rename = lambda *a: os.kill(os.getpid(), signal.SIGKILL); small_models.save()"
    )
    command = [sys.executable, "-c", code, str(TESTS)]
    assert subprocess.run(command, check=False).returncode == -9
    assert [path.name for path in root.rglob("manifest.json")] == ["manifest.json"]
    assert models.available() == []
    assert save().manifest.version == 1


def test_saves_at_once_get_different_versions(root):
    module = net()
    with ThreadPoolExecutor(4) as pool:
        saved = list(pool.map(lambda _: save(weights=module), range(12)))
    assert sorted(m.manifest.version for m in saved) == list(range(1, 13))
    assert all(open_model(m.folder).manifest_sha256 == m.manifest_sha256 for m in saved)


def test_a_saved_version_is_never_overwritten(model, root):
    before = {path: path.read_bytes() for path in model.folder.iterdir()}
    assert not write({"config.json": b"{}"}, model.folder)
    assert os.listdir(root) == ["classifier"]
    assert {path: path.read_bytes() for path in model.folder.iterdir()} == before


# What is not opened.


def test_any_changed_bit_in_any_file_is_refused(folder):
    generator = random.Random(1)
    for n in range(60):
        path = folder / FILES[n % len(FILES)]
        data = path.read_bytes()
        position = generator.randrange(8 * len(data))
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(ModelError, match=r"is changed|cannot|is missing"):
            open_model(folder)
        path.write_bytes(data)
    open_model(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], lambda data: data + b"\n", lambda data: b"", lambda data: b" " + data],
)
def test_a_longer_or_shorter_file_is_refused_by_name(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelError, match=r"manifest|" + name):
        open_model(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=rf"{name} is missing"):
        open_model(folder)


@pytest.mark.parametrize("name", ["extra.json", ".hidden", "notes.md"])
def test_a_file_that_is_not_listed_is_refused_by_name(folder, name):
    (folder / name).write_text("{}")
    with pytest.raises(ModelError, match=name):
        open_model(folder)


def test_a_name_that_would_write_over_the_terminal_is_shown_harmless(folder):
    (folder / "a\x1b[2J").mkdir()
    with pytest.raises(ModelError, match="no plain file name") as refusal:
        open_model(folder)
    assert str(refusal.value).isprintable()


def test_a_folder_inside_is_refused(folder):
    (folder / "more.json").mkdir()
    with pytest.raises(ModelError, match=r"more\.json is missing, or no ordinary file"):
        open_model(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.json",
        "/etc/secret.json",
        "sub/file.json",
        "..\\secret.json",
        "c:secret.json",
        "a\0.json",
    ],
)
def test_a_listed_path_that_leaves_the_folder_is_refused(folder, name):
    (folder.parent / "secret.json").write_text("{}")
    record = {"bytes": 2, "sha256": file_sha256(folder.parent / "secret.json")}
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({name: record}))
    with pytest.raises(ModelError, match="no plain file name"):
        open_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "manifest.json"])
def test_a_link_is_refused_even_to_the_right_content(folder, name, tmp_path):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ModelError, match=f"{name} is a link"):
        open_model(folder)


def test_a_link_that_takes_the_place_of_a_checked_file_is_refused(model, tmp_path):
    path = model.folder / "model.safetensors"
    path.rename(tmp_path / path.name)
    path.symlink_to(tmp_path / path.name)
    with pytest.raises(ModelError, match="is a link"):
        model.load_into(net())


def test_a_pipe_is_refused_and_not_waited_for(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    with pytest.raises(ModelError, match="no ordinary file"):
        open_model(folder)


@pytest.mark.parametrize(
    "suffix", ["pkl", "pt", "pth", "ckpt", "bin", "joblib", "npy", "py", "so", "PT"]
)
def test_a_listed_file_that_may_run_code_is_refused_by_its_suffix(folder, suffix):
    name = f"optimiser.{suffix}"
    (folder / name).write_bytes(b"")
    record = {"bytes": 0, "sha256": file_sha256(folder / name)}
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({name: record}))
    with pytest.raises(ModelError, match="run code"):
        open_model(folder)


@pytest.mark.parametrize("kind", ["pickle", "torch", "zip"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_pickle_under_another_name_is_refused_and_never_runs(folder, name, kind, tmp_path):
    marker = tmp_path / "marker"
    path = folder / name
    if kind == "torch":
        torch.save(Marker(marker), path)
    else:
        data = pickle.dumps(Marker(marker))
        path.write_bytes(data if kind == "pickle" else b"PK\x03\x04" + data)
    rewrite_manifest(folder)
    with pytest.raises(ModelError, match=f"{name} is no sound safetensors|{name}: .* Invalid JSON"):
        open_model(folder).load_into(net())
    assert not marker.exists()


def test_the_pickle_of_these_tests_does_run_when_it_is_loaded(tmp_path):
    pickle.loads(pickle.dumps(Marker(tmp_path / "marker")))  # noqa: S301
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "'format': Input should be less than or equal to 1"),
        ({"format": "1"}, "format"),
        ({"format": 0}, "format"),
        ({"name": "../x"}, "lowercase letters"),
        ({"version": 0}, "version"),
        ({"version": True}, "version"),
        ({"seed": "7"}, "seed"),
        ({"surprise": 1}, "surprise"),
        ({"files": {}}, "is not listed"),
        ({"created": "\x1b[2J today"}, "created"),
        ({"metrics": {"a": {"value": "1"}}}, "value"),
        ({"metrics": {"a\nb": {"value": 1}}}, "metrics"),
    ],
)
def test_a_manifest_that_is_not_of_this_form_is_refused(folder, change, message):
    rewrite_manifest(folder, lambda manifest: manifest.update(change))
    with pytest.raises(ModelError, match=message) as refusal:
        open_model(folder)
    assert "manifest.json" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "Input should be an object"),
        ('{"format": NaN}', "'format': Input should be a valid integer"),
        ("[" * 200_000, "Invalid JSON: recursion limit exceeded"),
        ('{"format": 1' + "0" * 5000 + "}", "Invalid JSON: number out of range"),
    ],
)
def test_a_manifest_that_is_no_sound_json_is_refused(folder, text, message):
    path = folder / "manifest.json"
    path.write_text(text)
    (folder / "manifest.sha256").write_text(f"{file_sha256(path)}  manifest.json\n")
    with pytest.raises(ModelError, match=message):
        open_model(folder)


def test_hashes_that_do_not_agree_with_the_manifest_are_refused(folder):
    path = folder / "manifest.sha256"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    with pytest.raises(ModelError, match=r"manifest\.sha256 is changed"):
        open_model(folder)


def test_a_folder_without_manifest_is_no_model(tmp_path):
    with pytest.raises(ModelError, match=r"manifest\.json is missing"):
        open_model(tmp_path)
    with pytest.raises(ModelError, match="there is no model"):
        open_model(tmp_path / "none")


# What is not loaded.


def test_weights_exchanged_after_the_check_are_refused(model):
    other = save(weights=net(seed=5)).folder / "model.safetensors"
    (model.folder / "model.safetensors").write_bytes(other.read_bytes())
    with pytest.raises(ModelError, match=r"model\.safetensors is changed"):
        model.load_into(net())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            net(n_channels=8),
            r"convolution\.bias is \(4,\) torch\.float32 there, \(8,\) torch\.float32 here",
        ),
        (net().double(), "float32.*float64"),
        (torch.nn.Linear(2, 2), r"Linear: bias is None there, \(2,\) torch.float32 here"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_the_module_stays(model, module, message):
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ModelError, match=message) as refusal:
        model.load_into(module)
    assert "model.safetensors does not fit" in str(refusal.value)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_weights_with_a_value_that_is_not_finite_are_not_loaded(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    rewrite_manifest(folder)
    with pytest.raises(ModelError, match=r"model\.safetensors hold values that are not finite"):
        open_model(folder).load_into(net())


def test_a_weights_file_with_a_damaged_header_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b"F32", b"F99"))
    rewrite_manifest(folder)
    with pytest.raises(ModelError, match="no sound safetensors file"):
        open_model(folder).load_into(net())


def test_a_file_that_a_model_does_not_have_is_refused(model):
    with pytest.raises(ModelError, match=r"has no model\.onnx"):
        model.onnx_session()
    with pytest.raises(ModelError, match="has no"):
        model.read("../secret.json")


# What the project ships.


def test_every_model_that_ships_with_the_project_is_sound_and_small():
    shipped = ROOT / "models"
    for entry in models.available(root=shipped):
        assert entry.problem == ""
        assert sum(path.stat().st_size for path in entry.folder.iterdir()) <= 20 * MEGABYTE


def test_checking_a_model_does_not_import_torch(folder):
    code = (
        "import sys; from physics_twins.models.folder import open_model;"
        f"open_model({str(folder)!r}); print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_values_of_a_parameter_model_can_be_the_configuration():
    from pendulum import PendulumParameters

    parameters = PendulumParameters().to_papermill()
    model = save(config=parameters, parameters=parameters)
    assert model.config == json.loads(PendulumParameters().to_json())
    assert small_models.CARD.summary in model.card
