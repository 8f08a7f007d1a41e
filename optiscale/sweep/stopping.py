"""A request to stop: runs write their checkpoint and end, and the same command goes on from there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class _Stop:
    """The request of this process; each worker has its own."""

    reason: str | None = None


def request_stop(reason: str | None) -> None:
    """Ask the runs of this process to write their checkpoints and end; None takes it back."""
    _Stop.reason = reason


def stop_requested() -> str | None:
    """Return why the runs of this process are to end, or None."""
    return _Stop.reason


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], str | None]]:
    """Let Ctrl-C, SIGTERM and SIGUSR1 ask for a stop; a second Ctrl-C ends at once.

    Batch systems send the last two before a time limit. Gives the question that a run asks before every step.
    """
    request_stop(None)
    if threading.current_thread() is not threading.main_thread():
        yield stop_requested  # signals belong to the main thread; a notebook or a server sets its own
        return
    before = {number: signal.signal(number, _on_signal) for number in SIGNALS}
    try:
        yield stop_requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if stop_requested() is not None and number == signal.SIGINT:
        signal.default_int_handler(number, frame)
    request_stop(signal.Signals(number).name)
