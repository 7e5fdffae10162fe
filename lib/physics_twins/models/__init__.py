"""Trained models on disk: save, open, find, promote.

A model is a folder `<root>/<name>/<version>/` with weights, configuration, card and hashed manifest.
Your own are kept below `roots()[0]`, and those that ship with the project in its `models/`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
