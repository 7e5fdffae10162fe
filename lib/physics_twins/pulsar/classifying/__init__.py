"""Labels of frames: what a classifier learns from, the network, and what it is held against."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["recall_curves"])
