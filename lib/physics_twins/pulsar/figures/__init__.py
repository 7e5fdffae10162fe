"""Figures of the pulsar twin."""

import lazy_loader

_MODULES = ["classifier_plots", "search_plots", "telescope_plots", "twin_plots"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES)
