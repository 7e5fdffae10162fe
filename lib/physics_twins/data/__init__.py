"""Arrays with units on disk, numbers in print, files written whole, the project's folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
