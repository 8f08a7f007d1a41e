"""Files that grow by appended chunks beside the final folder, and survive a killed program."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout
from rich.console import Console

from optiscale.errors import UserError
from optiscale.io import read_json, write_json

NPY_HEADER = 128
"""Bytes kept free at the start of an array file until its length is known."""

_PROGRESS = "progress.json"


class Staging:
    """A hidden folder beside the final one, under a lock, in which files grow.

    Bytes are appended, fsynced, and then counted in a small file that is replaced atomically; what a killed program
    appended after that is cut off when the next one goes on. `publish` turns the folder into the final one by one
    rename.

    Parameters
    ----------
    folder
        The final folder.
    complete
        The file that only a finished folder holds, written last.
    scratch
        Files that are no part of the finished folder.
    """

    def __init__(self, folder: Path, *, complete: str, scratch: tuple[str, ...] = ()) -> None:
        self.target = Path(os.path.abspath(folder))  # noqa: PTH100  a link stays a link
        self.folder = self.target.parent / f".{self.target.name}.building"
        self.complete = complete
        self.scratch = (*scratch, _PROGRESS)
        self.state: dict[str, Any] = {}
        self._lock = FileLock(self.target.parent / f".{self.target.name}.lock")
        self._streams: dict[str, IO[bytes]] = {}

    def acquire(self, *, wait: bool = True) -> bool:
        """Take the lock, waiting for another program that builds the same folder; False if it is held and not `wait`.

        Raises
        ------
        UserError
            If the folder's parent cannot be written to.
        """
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                return False
            Console(stderr=True).print(
                f"{self.target}: another program is building it; waiting", highlight=False, soft_wrap=True
            )
            self._lock.acquire()
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise UserError(f"{self.target}: cannot be made ({error.strerror}); choose another folder") from error
        return True

    def release(self) -> None:
        """Close the files and give the lock back."""
        self._close()
        if (self.target / self.complete).exists():
            # whoever waits for the lock finds the finished folder, so that the file is needed no more
            Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def resume(self, key: Mapping[str, Any]) -> bool:
        """Make the staging folder, or go on with that of a killed program.

        Parameters
        ----------
        key
            What distinguishes this build from another one, of JSON values.

        Returns
        -------
        bool
            True when the final folder is there already, or was complete but for the rename.

        Raises
        ------
        UserError
            If something else is in the final place, or the staging folder holds a build with another key.
        """
        if (self.target / self.complete).exists():
            return True
        if self.target.exists() and (not self.target.is_dir() or any(self.target.iterdir())):
            raise UserError(f"{self.target}: something else is there already; remove it or choose another folder")
        if (self.folder / self.complete).exists():
            self.publish()
            return True
        if not (self.folder / _PROGRESS).exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            self._write_progress({"key": dict(key), "state": {}, "sizes": {}})
        progress = read_json(self.folder / _PROGRESS)
        key = json.loads(json.dumps(key))  # as it reads back: tuples are lists
        if progress["key"] != key:
            names = [name for name in {**progress["key"], **key} if progress["key"].get(name) != key.get(name)]
            raise UserError(
                f"{self.folder}: an interrupted build with another {', '.join(names)}; finish that one with its own "
                "options, or remove this folder"
            )
        self._key, self.state = dict(key), progress["state"]
        self._cut(progress["sizes"])
        return False

    def _cut(self, sizes: dict[str, int]) -> None:
        """Cut every file to the size that the last commit counted."""
        for path in self.folder.iterdir():
            if path.name in sizes:
                os.truncate(path, sizes[path.name])
            elif path.name != _PROGRESS:
                path.unlink()

    def append(self, name: str, data: bytes | np.ndarray) -> None:
        """Append to a file; an array file (.npy) begins after room for its header."""
        stream = self._stream(name)
        stream.write(data if isinstance(data, bytes) else data.tobytes())

    def path(self, name: str) -> Path:
        """Return the path of a staged file, which exists afterwards."""
        self._stream(name).flush()
        return self.folder / name

    def commit(self, state: Mapping[str, Any]) -> None:
        """Make what was appended lasting, with a state of JSON values."""
        for stream in self._streams.values():
            stream.flush()
            os.fsync(stream.fileno())
        sizes = {path.name: path.stat().st_size for path in self.folder.iterdir() if path.name != _PROGRESS}
        self._write_progress({"key": self._key, "state": dict(state), "sizes": sizes})
        self.state = dict(state)

    def finish_array(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """Write the header of an array file in place, now that its shape is known."""
        path = self.path(name)
        with path.open("r+b") as stream:
            stream.write(npy_header(shape, dtype))
            stream.flush()
            os.fsync(stream.fileno())

    def publish(self) -> None:
        """Turn the staging folder into the final one.

        Raises
        ------
        UserError
            If something else is in the way.
        """
        self._close()
        for name in self.scratch:
            (self.folder / name).unlink(missing_ok=True)
        try:
            self.folder.rename(self.target)
        except OSError as error:
            raise UserError(f"{self.target}: in the way and not empty; move it and run this again") from error
        _sync_folder(self.target.parent)

    def discard(self) -> None:
        """Remove the staging folder, and the lock file with it."""
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def _stream(self, name: str) -> IO[bytes]:
        if name not in self._streams:
            stream = (self.folder / name).open("ab")
            if name.endswith(".npy") and stream.tell() == 0:
                stream.write(b"\0" * NPY_HEADER)
            self._streams[name] = stream
        return self._streams[name]

    def _close(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    def _write_progress(self, content: dict[str, Any]) -> None:
        write_json(self.folder / _PROGRESS, content)


def remove_stale(parent: Path, *, keep: Staging) -> None:
    """Remove the staging folders in `parent` that no program holds, but for one."""
    for path in parent.glob(".*.building"):
        stale = Staging(parent / path.name.removeprefix(".").removesuffix(".building"), complete=keep.complete)
        if path != keep.folder and stale.acquire(wait=False):
            stale.discard()
            stale.release()


def npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """Return the header of a .npy file (format 1.0, C order), `NPY_HEADER` bytes long whatever the shape."""
    text = f"{{'descr': '{np.dtype(dtype).str}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + (NPY_HEADER - 10).to_bytes(2, "little") + text.ljust(NPY_HEADER - 11).encode() + b"\n"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
