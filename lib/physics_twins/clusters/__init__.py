"""Where heavy work runs: this machine, a batch system, or a Dask scheduler that is running already.

Dask is loaded when something is asked of it: a wrong word is refused at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
