"""A scheduler that somebody else runs: whether there is one at an address, and workers of use."""

import socket
import struct
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from physics_twins.clusters.names import ClusterError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_TIMEOUT_S = 8.0
GREETING_TIMEOUT_S = 4.0
# A scheduler greets with the length of what follows, as an unsigned number of 64 bits; it is short.
_LONGEST_GREETING_BYTES = 1 << 20
_LIBRARY = "physics_twins"


def join(where: str) -> "Client":
    """Return a client of the scheduler at an address, whose workers can compute for this library.

    Raises:
        ClusterError: There is none, it cannot be spoken to, or a worker lacks the library.
    """
    from physics_twins.clusters.owning import TidyClient

    options: dict[str, Any] = {}
    if where.startswith("tls://"):
        options["security"] = _security(where)
    else:
        _check_greeting(where)
    try:
        client = TidyClient(where, timeout=CONNECT_TIMEOUT_S, **options)
    except Exception as error:  # of another version, it may answer anything
        limit = f"within {CONNECT_TIMEOUT_S:g} s ({_first_line(error)})"
        raise ClusterError(
            f"no Dask scheduler that this one can speak to answers at {where} {limit}: is it running,"
            " and of about the same version of Dask?"
        ) from None
    try:
        check_workers(client, where)
    except BaseException:
        client.close()
        raise
    return client


def check_workers(client: Any, where: str) -> None:
    """Check that the workers there are have this library, without asking them to unpack any of it.

    Raises:
        ClusterError: One has not: what it is sent would end it.
    """
    if not _is_installed():
        return  # used from a folder: the workers' installations do not tell
    try:
        found = client.get_versions(packages=[_LIBRARY])["workers"]
    except Exception as error:
        raise ClusterError(
            f"the workers of {where} do not tell what they have ({_first_line(error)}): start them with"
            " about the same version of Dask"
        ) from None
    lacking = [name for name, facts in found.items() if not facts["packages"].get(_LIBRARY)]
    if lacking:
        raise ClusterError(
            f"{len(lacking)} of {len(found)} workers of {where} lack physics-twins ({lacking[0]}):"
            " install it there, or start the workers from this environment"
        )


def _is_installed() -> bool:
    try:
        return bool(version(_LIBRARY))
    except PackageNotFoundError:
        return False


def _check_greeting(where: str) -> None:
    """Check that what listens at an address greets as a scheduler does."""
    parts = urlsplit(where)
    host, port = parts.hostname or "", parts.port or 0
    try:
        with socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S) as connection:
            connection.settimeout(GREETING_TIMEOUT_S)
            greeting = connection.recv(8, socket.MSG_WAITALL)
    except TimeoutError:
        greeting = b""
    except OSError as error:
        raise ClusterError(
            f"no Dask scheduler answers at {where} ({_first_line(error)}): is it running?"
        ) from None
    if len(greeting) == 8 and struct.unpack("<Q", greeting)[0] < _LONGEST_GREETING_BYTES:
        return
    said = f"it says {greeting!r}" if greeting else "it says nothing"
    raise ClusterError(
        f"what listens at {where} is no Dask scheduler ({said}): give the scheduler's own port, not its"
        " dashboard's, and tls:// where it is encrypted"
    )


def _security(where: str) -> Any:
    """Return the certificates that Dask's configuration names."""
    from distributed.security import Security

    try:
        security = Security()
        has_certificates = security.get_connection_args("client").get("ssl_context") is not None
    except Exception as error:
        raise ClusterError(f"{where}: the certificates cannot be read: {_first_line(error)}") from None
    if not has_certificates:
        raise ClusterError(
            f"{where} is encrypted and Dask's configuration names no certificates: set"
            " distributed.comm.tls.ca-file and distributed.comm.tls.client.cert and .key"
        )
    return security


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
