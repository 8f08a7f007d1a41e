"""Atomic files and hashes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_CHUNK = 1 << 20
#: version of a study's file of fits; here, where it is known without the import of the laws
FITS_SCHEMA = 5


@contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that replaces it, fsynced, when the block ends without an error.

    Parameters
    ----------
    path
        The file to write; its folder is made if needed.
    mode
        ``"wb"`` or ``"w"`` (UTF-8).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # mkstemp makes private files; results are to be shared
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # a full disk does not say which file it was
        raise


def atomic_save(path: Path, save: Callable[[IO[bytes]], object]) -> None:
    """Call `save` with an open binary file that replaces `path` atomically."""
    with atomic_write(path) as stream:
        save(stream)


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON, atomically; floats keep every digit (shortest repr that reads back equal)."""
    with atomic_write(path, "w") as stream:
        json.dump(value, stream, indent=1, allow_nan=True)
        stream.write("\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def value_hash(value: object) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a JSON value with sorted keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
