"""The lattice twin: scalar and gauge fields on a lattice, sampled so that the numbers can be trusted.

What others use stands in `__init__.pyi` and is loaded when it is asked for: a refusal is fast, and
workers start light.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
