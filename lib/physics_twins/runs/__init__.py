"""A run is a folder: parameters, executed notebook, datasets, tables, metrics and provenance."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
