"""Loaded by worker processes of this machine: Ctrl-C is for who started them, and so are errors.

A terminal sends it to all of them. The driver then ends its workers in order; a worker that heard it
itself would break its cells off in the middle of whatever they do, a file that is half written too.
Errors of tasks are raised where their results are asked for; what Dask says besides, such as that the
scheduler of a cluster that is closed does not answer, would stand in red under work that succeeded.
"""

import logging
import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Let this process ignore Ctrl-C, and be quiet; Dask calls this in its main thread."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
