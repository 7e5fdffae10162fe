"""One visible training loop that survives any kill.

Nothing here loads torch before it is asked for, so that a wrong setting is refused at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
