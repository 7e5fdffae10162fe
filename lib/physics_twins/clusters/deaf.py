"""Loaded by worker processes of this machine: Ctrl-C is for the process that started them.

A terminal sends it to all of them. The driver then ends its workers in order; a worker that heard it
itself would break its cells off in the middle of whatever they do, a file that is half written too.
"""

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Let this process ignore the terminal's Ctrl-C; Dask calls this in its main thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
