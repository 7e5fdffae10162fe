"""Figures made from datasets: images, series, and those of the verbs that all twins share.

HoloViews is loaded when the first figure is asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
