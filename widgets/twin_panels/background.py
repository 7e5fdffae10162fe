"""Slow work beside a panel: only the newest request counts, and its results come part by part."""

import asyncio
import atexit
import importlib
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

SETTLE_S = 0.4  # a hand that moves on within this time starts no work
# A thread gives Python to the panel within this time: 5 ms by default, many times in one frame.
SWITCH_S = 5e-4


def sentence(error: Exception) -> str:
    """Return what an error says, as a sentence.

    >>> sentence(ValueError("no worker has come"))
    'no worker has come.'
    """
    return f"{str(error).rstrip('.') or type(error).__name__}."


class Background:
    """A thread that works on the newest request and hands results to the kernel's own thread.

    In a kernel that is by its event loop, between messages; elsewhere `wait` hands them over.

    Args:
        deliver: Called with each result of the newest request, or with the exception that ended it.
        settle_s: How long a request waits for a newer one before work on it begins.
    """

    def __init__(self, deliver: Callable[[Any], None], *, settle_s: float = SETTLE_S) -> None:
        self._deliver, self._settle_s = deliver, settle_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._asked: tuple[int, Callable[[], Iterator[Any]]] | None = None
        self._needs = ""
        self._newest = 0
        self._results: deque[tuple[int, Any]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        _living.add(self)

    def ask(self, work: Callable[[], Iterator[Any]], *, needs: str = "") -> None:
        """Begin to work, in place of whatever was asked for before.

        Args:
            work: Returns the results one after the other, None where there is nothing new; it must
                touch nothing that others change. It is closed where it is no longer wanted.
            needs: A module that the work uses and that takes long to import. The kernel's own thread
                imports it, once what it does now is done: a thread that imports PyTorch breaks every
                library that looks whether PyTorch is there meanwhile.
        """
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        with self._lock:
            self._newest += 1
            self._asked, self._needs = (self._newest, work), needs
        if self._loop is not None and needs and needs not in sys.modules:
            self._loop.call_soon(self._begin)
        else:
            self._begin()

    def wait(self, at_most_s: float | None = None) -> None:
        """Wait for the newest request to end, or for a time, and hand its results over."""
        self._begin()
        if thread := self._thread:
            thread.join(at_most_s)
        self._hand_over()

    def end(self) -> None:
        """Take nothing more up, and wait until what is being computed is done."""
        with self._lock:
            self._newest, self._asked, thread = self._newest + 1, None, self._thread
        if thread:
            thread.join()

    def _begin(self) -> None:
        try:
            if self._needs and self._asked:
                importlib.import_module(self._needs)
        except Exception as error:  # of whatever kind: a panel tells it
            self._asked = None
            self._put(self._newest, error)
        with self._lock:
            if self._thread is None and self._asked is not None:
                sys.setswitchinterval(SWITCH_S)
                self._thread = threading.Thread(target=self._run, name="panel", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while request := self._next():
            number, work = request
            try:
                self._follow(number, work())
            except Exception as error:  # a traceback in a thread is lost: it is told instead
                self._put(number, error)

    def _follow(self, number: int, results: Iterator[Any]) -> None:
        try:
            for result in results:
                if result is not None:
                    self._put(number, result)
                if number != self._newest:
                    break
        finally:
            if close := getattr(results, "close", None):
                close()

    def _next(self) -> tuple[int, Callable[[], Iterator[Any]]] | None:
        """Return the request that no newer one followed for a while; None where there is none."""
        while True:
            before = self._newest
            time.sleep(self._settle_s)
            with self._lock:
                if before == self._newest:
                    request, self._asked = self._asked, None
                    if request is None:
                        self._thread = None
                    return request

    def _put(self, number: int, result: Any) -> None:
        self._results.append((number, result))
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        while self._results:
            number, result = self._results.popleft()
            if number == self._newest:
                self._deliver(result)


_living: weakref.WeakSet[Background] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End all threads before Python ends: one that is killed in compiled code aborts the process."""
    for background in list(_living):
        background.end()
