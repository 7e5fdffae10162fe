"""Work in a process of its own, for what a worker's threads would disturb."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, process
from typing import Any


def call(function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
    """Call a function of a module in a fresh process, and return what it returns.

    The process has the random generators, signals and memory (a GPU's too) for itself, may start
    processes, and ends at once when this one dies.

    Raises:
        concurrent.futures.process.BrokenProcessPool: It died.
        Exception: What the function raises.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent) as executor:
        with _allowed_to_start_processes():
            future = executor.submit(function, *arguments, **options)
        return future.result()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _allowed_to_start_processes() -> Iterator[None]:
    """Lift Python's rule that a daemon, as Dask's workers are, has no children; ours end with it."""
    settings: dict[str, Any] = process.current_process()._config  # pyright: ignore[reportAttributeAccessIssue]
    is_daemon = settings.get("daemon")
    settings["daemon"] = False
    try:
        yield
    finally:
        settings["daemon"] = is_daemon
