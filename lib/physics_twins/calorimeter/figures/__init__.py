"""Figures of the calorimeter twin."""

import lazy_loader

_MODULES = ["evaluation_plots", "shower_plots", "training_plots", "twin_plots"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
