"""The words that say where heavy work runs."""

import difflib
import re

BATCH_SYSTEMS = ("slurm", "pbs", "lsf", "sge", "oar", "htcondor")
WORDS = ("local", "threads", *BATCH_SYSTEMS)

_ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:\d+")
_SECTION = re.compile(rf"({'|'.join(BATCH_SYSTEMS)})-[a-z0-9][a-z0-9_-]*")


class ClusterError(RuntimeError):
    """A cluster that cannot be used; the message says what is missing."""


def check(where: str) -> None:
    """Check that `where` names a kind of cluster, without looking whether it is there.

    Raises:
        ValueError: It is no known word and no address; the nearest word is suggested.

    >>> check("slurm-gpu")
    >>> check("slrum")
    Traceback (most recent call last):
    ValueError: on = 'slrum' is no cluster; did you mean 'slurm'?
    """
    if where in WORDS or _ADDRESS.fullmatch(where) or _SECTION.fullmatch(where):
        return
    nearest = difflib.get_close_matches(where, WORDS, n=1)
    known = f"known are {', '.join(WORDS)}, a section such as slurm-gpu, and tcp://host:port"
    raise ValueError(
        f"on = {where!r} is no cluster; " + (f"did you mean {nearest[0]!r}?" if nearest else known)
    )


def is_batch(where: str) -> bool:
    """Return whether `where` is a batch system or a section of its own for one, as `slurm-gpu`."""
    return where.partition("-")[0] in BATCH_SYSTEMS
