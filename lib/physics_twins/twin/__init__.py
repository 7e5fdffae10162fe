"""What the verbs of all twins share: the state, its calibration, drift, what-if."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
