"""The published raw data: a pymatgen ComputedStructureEntry a material, as JSON (arXiv:2602.05702)."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from optiscale.dataset.importers.build import Outcome
from optiscale.dataset.importers.crystal import check_crystal, crystal_from_dict
from optiscale.dataset.importers.layout import COMPONENTS, ENERGY, SCALARS, check_drude
from optiscale.dataset.writer import DatasetInfo, Material
from optiscale.errors import UserError
from optiscale.io import value_hash

#: of the entry's data, kept as columns
COLUMNS = ("band_gap_ind", "dos_ef", "e_above_hull", "e_form")
REMEDY = "give the JSON of a ComputedStructureEntry with eps_inter_re, eps_inter_im and drude_freq (docs/own-data.md)"
#: eV; the files round energies like 0.829999
ENERGY_TOLERANCE = 1e-3
#: below this many files the start of a worker costs more than it saves
MIN_FILES_A_WORKER = 500
CHUNK = 16


class ComputedEntries:
    """Materials of JSON files, in the order of the sorted paths.

    Parameters
    ----------
    paths
        The files (`.json` or `.json.gz`).
    name
        Of the data set.
    workers
        Processes that parse; by default one a core where the files are many.
    """

    def __init__(self, paths: Sequence[Path], *, name: str, workers: int | None = None) -> None:
        self.paths = sorted(paths)
        self.workers = workers
        self.info = DatasetInfo(
            name=name,
            source="published ComputedStructureEntry files (arXiv:2602.05702)",
            energy=ENERGY,
            components=COMPONENTS,
            scalars=SCALARS,
            provenance={"n_files": len(self.paths)},
            # names only: a bad file may be mended before the import goes on
            build_key={"files": value_hash([path.name for path in self.paths])},
        )

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, start: int) -> Iterator[Outcome]:
        """Yield materials from item `start` on."""
        paths = [str(path) for path in self.paths[start:]]
        workers = self.workers or min(os.cpu_count() or 1, 16, len(paths) // MIN_FILES_A_WORKER)
        if workers < 2:
            yield from map(read_outcome, paths)
            return
        chunks = [paths[first : first + CHUNK] for first in range(0, len(paths), CHUNK)]
        # forkserver: a fork of a process with threads (a progress bar, HDF5) can hang
        with ProcessPoolExecutor(workers, get_context("forkserver"), initializer=_ignore_interrupt) as pool:
            waiting: deque[Future[list[Outcome]]] = deque()
            rest: Iterator[list[str]] = iter(chunks)
            # a bounded queue: parsing may run ahead of writing by a few chunks, never by the whole set
            for chunk in itertools.islice(rest, 4 * workers):
                waiting.append(pool.submit(_read_chunk, chunk))
            while waiting:
                yield from waiting.popleft().result()
                waiting.extend(pool.submit(_read_chunk, chunk) for chunk in itertools.islice(rest, 1))


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the process that writes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_chunk(paths: Sequence[str]) -> list[Outcome]:
    return [read_outcome(path) for path in paths]


def read_outcome(path: str) -> Outcome:
    """Read one file; the error of a bad one is returned, to cross processes."""
    try:
        return path, read_entry(Path(path))
    except UserError as error:
        return path, UserError(str(error))


def read_entry(path: Path) -> Material:
    """Read one ComputedStructureEntry.

    Only plain values, arrays and the structure are decoded; no class that the file names is imported.
    The spectrum is the direction average, trace / 3, and omega_D the root mean square over the directions.

    Raises
    ------
    UserError
        Naming file and remedy.
    """
    entry = _load(path)
    data = entry.get("data") if isinstance(entry, dict) else None
    if not isinstance(data, dict) or "structure" not in entry:
        raise UserError(f"{path}: not a ComputedStructureEntry; {REMEDY}")
    needed = ("mat_id", "eps_inter_re", "eps_inter_im", "drude_freq")
    if missing := [key for key in needed if key not in data]:
        raise UserError(f"{path}: data.{missing[0]} is missing; {REMEDY}")
    try:
        return _material(entry, data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}: values of another kind ({reason}); {REMEDY}") from error


def _material(entry: dict[str, Any], data: dict[str, Any]) -> Material:
    name = str(data["mat_id"])
    drude = decode_array(data["drude_freq"])
    if drude.shape != (3,):
        raise UserError(f"{name}: drude_freq has shape {drude.shape}, not (3,); {REMEDY}")
    check_drude(float(drude.min()), name=name)
    crystal = crystal_from_dict(entry["structure"], name=name)
    check_crystal(crystal)
    parts = [_direction_average(data[key], name=name, key=key) for key in ("eps_inter_re", "eps_inter_im")]
    space_group = str(data.get("spg"))
    return Material(
        id=name,
        lattice=crystal.lattice,
        atomic_number=crystal.atomic_number,
        position=crystal.position,
        spectrum=np.stack(parts, axis=-1).astype(np.float32),
        scalars=np.array([np.sqrt((drude**2).sum() / 3)]),
        prototype=None if data.get("prototype_id") is None else str(data["prototype_id"]),
        space_group=int(space_group) if space_group.isdigit() else None,
        provenance={"parameters": entry.get("parameters") or {}},
        extra={key: float("nan") if data.get(key) is None else float(data[key]) for key in COLUMNS},
    )


def _direction_average(value: Any, *, name: str, key: str) -> np.ndarray:
    """(n_omega,) trace / 3 of rows of energy, x, y, z."""
    table = decode_array(value)
    if table.shape != (ENERGY.n, 4):
        raise UserError(
            f"{name}: {key} has shape {table.shape}, not ({ENERGY.n}, 4): energy, x, y, z from 0 to 20 eV; "
            "mend or drop the material"
        )
    away = np.abs(table[:, 0] - ENERGY.values())
    if not (away < ENERGY_TOLERANCE).all():
        row = int(np.argmax(np.nan_to_num(away, nan=np.inf)))
        raise UserError(
            f"{name}: {key} is on another energy grid ({table[row, 0]:g} eV in row {row}, not "
            f"{ENERGY.values()[row]:g}); interpolate it to 0 to 20 eV in steps of 0.01 eV"
        )
    return (table[:, 1] + table[:, 2] + table[:, 3]) / 3  # not sum(): that would turn -0.0 into 0.0


def decode_array(value: Any) -> np.ndarray:
    """Read a number array, as a list or as monty writes it: {"@class": "array", "dtype": …, "data": …}."""
    if isinstance(value, dict):
        if value.get("@class") != "array":
            raise ValueError(f"an object of class {value.get('@class')!r} where an array should be")
        value = value["data"]
    return np.asarray(value, dtype=np.float64)


def _load(path: Path) -> Any:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            return json.loads(content)  # slower, but it reads the NaN that Python writes
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable JSON ({reason}); {REMEDY}") from error
