"""Ctrl-C and a batch system's request to end, held back until everything is in order."""

import logging
import signal
import threading
from types import FrameType
from typing import Any, Self

_log = logging.getLogger(__name__)


class Interruption:
    """A block in which the first signal to stop is only noted, and acts when the block is left.

    A second one acts at once. Only the main thread receives signals: elsewhere nothing is held back.

    Attributes:
        requested: The signal that has come, so that the block should be left soon; 0 for none.
    """

    def __init__(self) -> None:
        self.requested = 0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._put_back()
        if self.requested and error is None:
            signal.raise_signal(self.requested)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        self._put_back()
        _log.warning("stopping after this step; a second request stops at once")

    def _put_back(self) -> None:
        while self._former:
            signal.signal(*self._former.popitem())
