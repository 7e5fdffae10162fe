"""From a pulse to its parameters with errors, and the limit that noise sets to them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["stream_frames"])
