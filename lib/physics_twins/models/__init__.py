"""Trained models on disk: save, open, find, promote.

A model is a folder `<root>/<name>/<version>/` with weights, configuration, card and hashed manifest.
Your own are kept under `own_root`, and those that ship with the project in its `models/`.
"""

from physics_twins.models.card import Card
from physics_twins.models.folder import Model, open_model
from physics_twins.models.importing import import_zip
from physics_twins.models.manifest import ModelError
from physics_twins.models.onnx import export_onnx, onnx_file, onnx_session
from physics_twins.models.registry import (
    Entry,
    address_parts,
    available,
    find,
    own_root,
    promote,
    promotions,
    roots,
)
from physics_twins.models.saving import save

__all__ = [
    "Card",
    "Entry",
    "Model",
    "ModelError",
    "address_parts",
    "available",
    "export_onnx",
    "find",
    "import_zip",
    "onnx_file",
    "onnx_session",
    "open_model",
    "own_root",
    "promote",
    "promotions",
    "roots",
    "save",
]
