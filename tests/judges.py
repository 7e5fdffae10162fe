"""Judges that live in `benchmarks/`, loaded by name."""

import importlib.util
import sys
from types import ModuleType

from sources import ROOT


def judge(name: str) -> ModuleType:
    """Return a module of `benchmarks/` that needs no other one there."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
