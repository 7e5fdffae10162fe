"""Trained models on disk."""

from .card import Card as Card
from .folder import Model as Model
from .folder import ModelError as ModelError
from .onnx import export_onnx as export_onnx
from .registry import Entry as Entry
from .registry import available as available
from .registry import find as find
from .registry import import_zip as import_zip
from .registry import promote as promote
from .registry import roots as roots
from .saving import save as save
