"""Computing a shelf of spectra: one process a core, resumable, safe to run twice on one folder."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from optiscale.errors import UserError
from optiscale.spectra.gpaw_recipe import NEWEST
from optiscale.spectra.interpreter import RECIPE_FILE, find_gpaw
from optiscale.spectra.progress import show_progress
from optiscale.spectra.records import Record, read_record
from optiscale.structures import INTERMETALLICS, MaterialPlan, PlannedMaterial, plan_materials

PLAN_LENGTH = 4000
"""Materials of the plan that are computed without a limit."""

Outcome = Literal["done", "failed", "elsewhere", "stopped"]

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, kw_only=True)
class ShelfProgress:
    """What one call of `compute_shelf` did.

    Attributes
    ----------
    done, failed
        Ids computed, and ids whose calculation failed, by this call.
    elsewhere
        Ids that another program had just computed or was computing.
    left
        Ids for a later call: not started when the time was over or the user interrupted, or stopped by a signal.
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]
    elsewhere: tuple[str, ...]
    left: tuple[str, ...]


def compute_shelf(
    out: Path,
    *,
    engine: str = "gpaw",
    workers: int = 1,
    hours: float | None = None,
    limit: int | None = None,
    python: str | None = None,
    exclude: Collection[str] = (),
    nice: int = 10,
    retry_failed: bool = False,
    refine: bool = False,
    plan: MaterialPlan = INTERMETALLICS,
) -> ShelfProgress:
    """Compute the materials of a plan that have no record yet, or compute those again whose k mesh was too coarse.

    A record is ``out/<id>.npz``; a failure leaves ``out/<id>.failed.json``. The call may be killed at any time: records
    appear whole or not at all. Each material is guarded by a lock that its calculation holds too, so that programs on
    the same folder never do the same work, not even beside the orphan of a killed one.

    Parameters
    ----------
    out
        Folder of the records; made if missing.
    engine
        ``"gpaw"``.
    workers
        Calculations at a time, of one thread each.
    hours
        Start nothing after this time; what runs then is finished.
    limit
        Compute at most so many materials; without it the first `PLAN_LENGTH` of the plan.
    python
        The interpreter that has GPAW; searched for if None.
    exclude
        Ids that need no record, such as those of a packed shelf; nor do their twins.
    nice
        Added to the niceness of the calculations.
    retry_failed
        Try materials again that failed before.
    refine
        Instead of the plan, compute the records in `out` again that carry the flag ``coarse_mesh`` and that the newest
        recipe, which makes the mesh denser where it shows, did not make. Each stays until its better one is there.
    plan
        What to compute, in its order.

    Returns
    -------
    ShelfProgress

    Raises
    ------
    UserError
        For an impossible argument, if no interpreter with GPAW is found, or if GPAW stops for a reason that is not the
        material's.
    """
    if engine != "gpaw":
        raise UserError(f"engine {engine!r} is unknown; use 'gpaw'")
    if workers < 1:
        raise UserError(f"workers must be at least 1, not {workers}")
    if hours is not None and not hours > 0:
        raise UserError(f"hours must be above 0, not {hours}")
    if limit is not None and limit < 1:
        raise UserError(f"limit must be at least 1, not {limit}")
    interpreter = find_gpaw(python)
    out = Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    todo = [
        material
        for material in (_coarse_materials(out) if refine else plan_materials(PLAN_LENGTH, plan=plan))
        if not _is_settled(out, material, exclude=exclude, retry_failed=retry_failed, refine=refine)
    ][:limit]
    shelf = _Shelf(out=out, python=interpreter, plan=plan, nice=nice, retry_failed=retry_failed, refine=refine)
    return shelf.compute(todo, workers=workers, deadline=None if hours is None else time.time() + 3600 * hours)


def _is_settled(
    out: Path, material: PlannedMaterial, *, exclude: Collection[str], retry_failed: bool, refine: bool
) -> bool:
    """Whether a material needs no work: it or a twin has a record, or it has a failure that is to be left alone."""
    names = (material.id, *material.twins)
    failed = not retry_failed and any((out / f"{name}.failed.json").exists() for name in names)
    return failed or (not refine and any(name in exclude or (out / f"{name}.npz").exists() for name in names))


def _is_coarse(record: Record) -> bool:
    """Whether the newest recipe would give a material a better mesh."""
    return record.provenance["coarse_mesh"] and record.provenance["recipe_version"] < NEWEST


def _coarse_materials(out: Path) -> list[PlannedMaterial]:
    """Materials of a folder whose records are to be made again, roughest first."""
    records = [record for record in map(read_record, sorted(out.glob("*.npz"))) if _is_coarse(record)]
    return [
        PlannedMaterial(
            prototype=record.prototype,
            elements=tuple(record.id.removeprefix(f"{record.prototype}_").split("-")),
            volume_scale=record.provenance["volume_scale"],
        )
        for record in sorted(records, key=lambda record: -record.provenance["roughness"])
    ]


def recipe_job(
    material: PlannedMaterial,
    *,
    out: Path,
    plan: MaterialPlan,
    version: int = NEWEST,
    nice: int = 0,
    changes: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Job for ``gpaw_recipe.py``: everything it must know of a material, as JSON values."""
    atoms = material.build()
    return {
        "id": material.id,
        "out": str(out),
        "recipe_version": version,
        "plan": f"{plan.name}-{plan.version}",
        "nice": nice,
        "changes": changes or {},
        "prototype": material.prototype,
        "volume_scale": material.volume_scale,
        "cell": atoms.cell.array.tolist(),
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
    }


@contextmanager
def _claim(out: Path, name: str) -> Iterator[int | None]:
    """Lock a material; yield the lock's file descriptor, or None if another program holds it.

    The kernel keeps the lock for as long as any process has the descriptor open: a calculation that inherits it stays
    protected if this process is killed, and no lock outlives its holders.
    """
    descriptor = os.open(out / f".{name}.lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True, kw_only=True)
class _Shelf:
    """A folder of records in the making."""

    out: Path
    python: str
    plan: MaterialPlan
    nice: int
    retry_failed: bool
    refine: bool

    def compute(self, todo: list[PlannedMaterial], *, workers: int, deadline: float | None) -> ShelfProgress:
        """Run the calculations, `workers` at a time."""
        outcomes: dict[str, Outcome] = {}
        stop = threading.Event()

        def run(material: PlannedMaterial) -> None:
            if not stop.is_set() and (deadline is None or time.time() < deadline):
                outcomes[material.id] = self._compute_one(material)

        with ThreadPoolExecutor(workers) as pool, show_progress(len(todo), deadline=deadline) as report:
            futures = {pool.submit(run, material): material.id for material in todo}
            try:
                for future in as_completed(futures):
                    name = futures[future]
                    future.result()  # raises what stopped the calculation
                    if name in outcomes:
                        report(name, outcomes[name])
            except KeyboardInterrupt:
                report.message("interrupted: what is done is kept")
            finally:
                stop.set()  # after an interrupt or an error no further calculation starts

        def ids(*wanted: Outcome | None) -> tuple[str, ...]:
            return tuple(material.id for material in todo if outcomes.get(material.id) in wanted)

        return ShelfProgress(
            done=ids("done"), failed=ids("failed"), elsewhere=ids("elsewhere"), left=ids("stopped", None)
        )

    def _compute_one(self, material: PlannedMaterial) -> Outcome:
        """Compute one material, unless another program does or did."""
        failure = self.out / f"{material.id}.failed.json"
        path = self.out / f"{material.id}.npz"
        with _claim(self.out, material.id) as lock:
            if lock is None or (path.exists() and not (self.refine and _is_coarse(read_record(path)))):
                return "elsewhere"
            if not self.retry_failed and failure.exists():
                return "elsewhere"
            failure.unlink(missing_ok=True)
            for stale in self.out.glob(f".{material.id}.*.tmp"):  # left by a killed calculation; the lock is ours
                stale.unlink()
            if not self._run_recipe(material, lock):
                return "stopped"
            # The material is settled, so whoever still waits for this very file will find its record or its failure.
            (self.out / f".{material.id}.lock").unlink(missing_ok=True)
            return "failed" if failure.exists() else "done"

    def _run_recipe(self, material: PlannedMaterial, lock: int) -> bool:
        """Run the recipe in its interpreter; it leaves a record or a failure, unless a signal stops it: False."""
        job = recipe_job(material, out=self.out, plan=self.plan, nice=self.nice)
        finished = subprocess.run(
            [self.python, str(RECIPE_FILE)],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | _ONE_THREAD,
            pass_fds=[lock],
        )
        if finished.returncode > 0:
            last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(f"{material.id}: GPAW under {self.python} stopped: {last}")
        # A negative status is a signal, from the user or from a kernel short of memory: not the material's fault.
        return finished.returncode == 0
