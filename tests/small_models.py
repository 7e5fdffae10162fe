"""A small model as the tests save it, and folders whose manifest fits whatever was done to them."""

import hashlib
import json
from pathlib import Path

import torch
from torch import nn

from physics_twins import models
from physics_twins.models import Card

CARD = Card(
    summary="Tells a pulse from interference.",
    data="Simulated observations.",
    limits="Not for telescopes below 300 MHz.",
    held_against="The limit is a matched filter, the baseline a boxcar search.",
    reproduce="Run the notebook pulsar/2_train.",
    tags=("pulsar",),
)
METRICS = {
    "accuracy": {"value": 0.97, "error": 0.01, "limit": 0.99, "baseline": 0.9},
    "width_error_s": {"value": 0.002, "error": 0.0001, "unit": "s"},
}


class Net(nn.Module):
    """One convolution with a running mean, so that there are weights, buffers and an integer."""

    def __init__(self, n_channels: int = 4):
        super().__init__()
        self.convolution = nn.Conv1d(1, n_channels, 5, padding=2)
        self.norm = nn.BatchNorm1d(n_channels)
        self.dropout = nn.Dropout()
        self.head = nn.Linear(n_channels * 16, 3)

    def forward(self, series):
        hidden = torch.relu(self.norm(self.convolution(series)))
        return self.head(self.dropout(hidden).flatten(1))


def net(seed: int = 0, n_channels: int = 4) -> Net:
    torch.manual_seed(seed)
    return Net(n_channels)


def save(name: str = "classifier", *, weights=None, **options) -> models.Model:
    given = {
        "config": {"n_channels": 4},
        "card": CARD,
        "metrics": METRICS,
        "parameters": {"learning_rate": 0.001, "n_epochs": 3},
        "seed": 7,
    }
    return models.save(net() if weights is None else weights, name, **(given | options))


def rewrite_manifest(folder: Path, change=lambda manifest: None, *, added=()) -> None:
    """Do what an attacker does: change anything, and make manifest and hashes fit again."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in [*manifest["files"], *added]:
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    change(manifest)
    write_sums(folder, json.dumps(manifest))


def write_sums(folder: Path, text: str) -> None:
    """Write a manifest's text and the hashes that fit it."""
    (folder / "manifest.json").write_text(text)
    hashes = {"manifest.json": hashlib.sha256(text.encode()).hexdigest()}
    manifest = json.loads(text)
    files = manifest.get("files", {}) if isinstance(manifest, dict) else {}
    hashes |= {name: record["sha256"] for name, record in files.items()}
    lines = [f"{hashes[name]}  {name}\n" for name in sorted(hashes)]
    (folder / "manifest.sha256").write_text("".join(lines))
