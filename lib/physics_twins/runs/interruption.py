"""Ctrl-C and a batch system's request to end, held back until everything is in order."""

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_log = logging.getLogger(__name__)


class Interruption:
    """A block in which the first signal to stop is only noted, and acts when the block is left.

    A second one acts at once. Only the main thread receives signals: elsewhere nothing is held back.
    """

    def __init__(self) -> None:
        self._noted: int | None = None
        self._former: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has come, so that the block should be left soon."""
        return self._noted is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                former = signal.getsignal(number)
                if former not in (None, signal.SIG_IGN):
                    self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()
        if self._noted is not None and error is None:
            signal.raise_signal(self._noted)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = number
        self._put_back()
        _log.warning("stopping after this step; a second request stops at once")

    def _put_back(self) -> None:
        while self._former:
            number, former = self._former.popitem()
            signal.signal(number, former)
