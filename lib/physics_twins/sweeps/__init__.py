"""Many cells of one function or notebook, resumed where they stopped, on any Dask client."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
