"""Figures of models on disk; part of platform.py."""

import pickle
import random
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from _table import Figure, this_machine
from physics_twins import models
from physics_twins.models.folder import MANIFEST, SUMS, open_model, sealed

N_FLIPS = 500
TAMPERING_SEED = 1


class _Marker:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def model_tampering() -> Figure:
    """How many of 500 flipped bits, two pickles, a zip-slip name and no manifest are accepted."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = _saved(folder / "models")
        n_accepted = sum(_flip_accepted(model, n) for n in range(N_FLIPS))
        _use(model.folder)  # sound again: what was refused was refused for its bit
        attacks = (_pickle_as_weights, _pickle_beside, _zip_slip, _no_manifest)
        n_accepted += sum(_attack_accepted(attack, folder) for attack in attacks)
        made = [name for name in ("marker", "escaped.json") if list(folder.rglob(name))]
    if made:
        raise RuntimeError(f"hostile files made {' and '.join(made)}")
    return Figure(n_accepted, None, "", 0, this_machine(), (TAMPERING_SEED,))


def _saved(root: Path) -> models.Model:
    """Save a small model with its ONNX file, so that every kind of file is there."""
    torch.manual_seed(TAMPERING_SEED)
    module = _module()
    return models.save(
        module,
        "classifier",
        config={"n_inputs": 64},
        card=models.Card(summary="For this benchmark.", data="None.", limits="Not trained."),
        metrics={"accuracy": {"value": 0.5, "error": 0.1}},
        parameters={"learning_rate": 0.001},
        seed=TAMPERING_SEED,
        onnx=models.export_onnx(module, torch.randn(4, 64)),
        root=root,
    )


def _module() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))


def _use(folder: Path) -> None:
    """Open a model and load all that it has."""
    model = open_model(folder)
    model.load_into(_module())
    model.onnx_session()


def _accepted(use: Callable[[], object]) -> bool:
    try:
        use()
    except models.ModelError:
        return False
    return True


def _flip_accepted(model: models.Model, n: int) -> bool:
    """Flip one bit of one file, every file as often; return whether the model is used all the same."""
    generator = random.Random(TAMPERING_SEED + n)  # noqa: S311
    found = sorted(model.folder.iterdir())
    path = found[n % len(found)]
    before = path.read_bytes()
    bit = generator.randrange(8 * len(before))
    after = bytearray(before)
    after[bit // 8] ^= 1 << bit % 8
    path.write_bytes(after)
    accepted = _accepted(lambda: _use(model.folder))
    path.write_bytes(before)
    return accepted


def _attack_accepted(attack: Callable[[models.Model, Path], None], folder: Path) -> bool:
    """Save a sound model, attack it, and return whether it is used all the same."""
    root = folder / attack.__name__
    model = _saved(root)
    return _accepted(lambda: attack(model, folder))


def _pickle_as_weights(model: models.Model, folder: Path) -> None:
    """Weights that are a pickle, with a manifest that fits them."""
    _replace(model, "model.safetensors", pickle.dumps(_Marker(folder / "marker")))
    _use(model.folder)


def _pickle_beside(model: models.Model, folder: Path) -> None:
    """A pickle as torch names it, listed in the manifest."""
    _replace(model, "model.pt", pickle.dumps(_Marker(folder / "marker")))
    _use(model.folder)


def _zip_slip(model: models.Model, folder: Path) -> None:
    """A zip file of a sound model with one more name that leaves the folder."""
    path = Path(shutil.make_archive(str(folder / "model"), "zip", model.folder))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../escaped.json", "{}")
    models.import_zip(path, root=folder / "imported" / "models")


def _no_manifest(model: models.Model, folder: Path) -> None:
    (model.folder / "manifest.json").unlink()
    _use(model.folder)


def _replace(model: models.Model, name: str, data: bytes) -> None:
    """Write a file and make the manifest and its hash fit."""
    contents = {path.name: path.read_bytes() for path in model.folder.iterdir()} | {name: data}
    contents = {key: value for key, value in contents.items() if key not in (MANIFEST, SUMS)}
    for key, value in sealed(contents, model.manifest.model_dump()).items():
        (model.folder / key).write_bytes(value)


BENCHMARKS = {
    "model_tampering": model_tampering,
}
