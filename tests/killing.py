"""Programs that die in the middle of a build."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

FORK = multiprocessing.get_context("fork")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _killed_at(call: int, build: Callable[[Path], object], folder: Path) -> None:
    """Build, but die like a killed program at the given call that makes something lasting."""
    calls = 0

    def dying(function: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return wrapped

    os.fsync = dying(os.fsync)  # type: ignore[assignment]
    Path.replace = dying(Path.replace)  # type: ignore[method-assign,assignment]
    Path.rename = dying(Path.rename)  # type: ignore[method-assign,assignment]
    Path.unlink = dying(Path.unlink)  # type: ignore[method-assign,assignment]
    build(folder)


def survives_a_kill_at_any_step(
    build: Callable[[Path], object], expected: dict[str, bytes], parent: Path, monkeypatch: pytest.MonkeyPatch
) -> int:
    """Kill a build at its first lasting step, another at its second …; each is finished by a later program.

    Returns how many steps there are.
    """
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # it waits for the disk, and a killed program needs none
    for call in range(1, 300):
        folder = parent / f"at{call}"
        child = FORK.Process(target=_killed_at, args=(call, build, folder))
        child.start()
        child.join()
        if not folder.exists():  # else it died after the rename
            build(folder)
        assert bytes_of(folder) == expected, f"killed at step {call}"
        assert not folder.with_name(f".at{call}.building").exists()
        if child.exitcode == 0:
            return call - 1
    raise AssertionError("the build never ends")


def survives_kills_at_random_times(
    build: Callable[[Path], object], expected: dict[str, bytes], parent: Path, *, builds: int
) -> None:
    """Kill each build up to three times."""
    start = time.perf_counter()
    build(parent / "timed")
    whole = time.perf_counter() - start
    chance = random.Random(7)
    for number in range(builds):
        folder = parent / f"set{number}"
        for _ in range(3):
            if not folder.exists():
                child = FORK.Process(target=build, args=(folder,))
                child.start()
                time.sleep(chance.uniform(0, 1.2 * whole))
                child.kill()
                child.join()
        if not folder.exists():
            build(folder)
        assert bytes_of(folder) == expected
