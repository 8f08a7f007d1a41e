"""The tight-binding source: intermetallics by substitution, with spectra from our own bands, any number of them.

Draws come in the order of their index; each is built, solved and appended, or skipped with a reason and replaced by the
next draw. Worker processes of one thread build the crystals; they also solve them on a CPU, while a CUDA device solves
what they have prepared, thousands of crystals at a time (there, a spectrum depends on its batch by rounding, 1e-6).
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from ase.data import atomic_numbers

from optiscale.dataset.schema import EnergyGrid, Scalar
from optiscale.dataset.store import OpticalDataset
from optiscale.dataset.symmetry import find_space_group
from optiscale.dataset.writer import DatasetInfo, DatasetWriter, Material
from optiscale.errors import UserError
from optiscale.io import file_hash
from optiscale.spectra.tight_binding.bloch import BlochInput
from optiscale.spectra.tight_binding.engine import (
    SPACING,
    VERSION,
    Optics,
    Rejected,
    TightBindingEngine,
    find_rotations,
)
from optiscale.spectra.tight_binding.kmesh import Mesh, irreducible_points
from optiscale.spectra.tight_binding.model import TightBinding
from optiscale.spectra.tight_binding.parameters import parameter_file
from optiscale.spectra.tight_binding.response import ENERGY_STEP, ETA, N_ENERGIES, TEMPERATURE
from optiscale.structures.structure_types import build_type
from optiscale.structures.substitution import (
    CLOSEST_CONTACT,
    Decoration,
    SubstitutedCrystal,
    SubstitutionPlan,
    build_substituted,
    decorations,
)

ENERGY = EnergyGrid(start=0.0, stop=ENERGY_STEP * (N_ENERGIES - 1), n=N_ENERGIES)
COMPONENTS = ("re", "im")
SCALARS = (Scalar(name="omega_D", unit="eV", nonnegative=True),)

_CUDA_BATCH = 8192  # crystals solved together: enough of each size to fill the device
_CUDA_MEMORY_SHARE = 0.4
_CPU_TASK, _CUDA_TASK = 8, 64  # crystals a worker takes at a time
_TABULATED = 2000  # draws whose pairs of elements are tabulated before the workers start

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class _Piece:
    """A draw on its way: `outcome` is what the engine needs, then what it gave, or why the draw is left out."""

    draw: Decoration
    crystal: SubstitutedCrystal
    space_group: int | None
    divisions: tuple[int, int, int]
    outcome: BlochInput | Optics | Rejected


def build_tight_binding(
    folder: Path,
    *,
    n: int,
    plan: SubstitutionPlan | None = None,
    device: str = "cpu",
    workers: int | None = None,
    report: Callable[[int], None] | None = None,
) -> OpticalDataset:
    """Build a data set of substituted intermetallics; an interrupted build goes on.

    Parameters
    ----------
    folder
        Where; must not exist yet.
    n
        Materials wanted.
    plan
        What is drawn.
    device
        "cpu", or a CUDA device such as "cuda".
    workers
        Processes; one a core by default, none with 1.
    report
        Called with the number of materials so far.

    Returns
    -------
    OpticalDataset
        Opened. Its manifest's provenance lists the draws that were skipped.

    Raises
    ------
    UserError
        For an impossible argument, a device that is not there, or a folder that is taken.
    """
    plan = plan or SubstitutionPlan()
    if not isinstance(n, int) or n < 1:
        raise UserError(f"n must be a whole number from 1, not {n!r}")
    if n > plan.capacity() // 2:  # drawing what is new slows down near the end
        raise UserError(f"n must be at most {plan.capacity() // 2} for these sites and elements, not {n}")
    if workers is not None and workers < 1:
        raise UserError(f"workers must be at least 1, not {workers}")
    _check_device(device)
    with DatasetWriter(folder, _info(n, plan)) as writer:
        if not writer.finished:
            draws = itertools.islice(decorations(plan), writer.n_seen, None)
            try:
                with _solver(plan, device, workers or len(os.sched_getaffinity(0)), n) as solve:
                    while (missing := n - writer.n_added) > 0:
                        for piece in solve(itertools.islice(draws, missing)):
                            _write(writer, piece)
                            if report is not None:
                                report(writer.n_added)
            except BrokenProcessPool as error:
                raise UserError(
                    f"{folder}: a worker process was killed, for lack of memory perhaps; the same command goes on from "
                    "there, with fewer --workers if need be"
                ) from error
        return writer.finish()


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = "unknown"
    if kind not in ("cpu", "cuda"):
        raise UserError(f"--device {device}: the engine runs on cpu and cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {device}: torch sees no CUDA device here; use --device cpu")


def _info(n: int, plan: SubstitutionPlan) -> DatasetInfo:
    recipe = {
        "engine_version": VERSION,
        "parameters_sha256": file_hash(parameter_file()),
        "mesh_spacing": SPACING,
        "eta": ETA,
        "temperature": TEMPERATURE,
        "plan": plan.as_plain(),
    }
    return DatasetInfo(
        name="tight-binding",
        source="substituted intermetallics, s, p, d tight binding (docs/tight-binding.md)",
        energy=ENERGY,
        components=COMPONENTS,
        scalars=SCALARS,
        seed=plan.seed,
        provenance=recipe,
        build_key={**recipe, "n": n},
    )


def _write(writer: DatasetWriter, piece: _Piece) -> None:
    optics, crystal = piece.outcome, piece.crystal
    if isinstance(optics, Rejected):
        writer.skip(piece.draw.id, optics.reason)
        return
    assert isinstance(optics, Optics)  # noqa: S101 (for the type checker)
    writer.add(
        Material(
            id=piece.draw.id,
            lattice=crystal.lattice,
            atomic_number=crystal.numbers,
            position=crystal.position,
            spectrum=optics.eps_inter.view(np.float32).reshape(-1, 2),
            scalars=np.array([optics.omega_D]),
            prototype=piece.draw.type_name,
            space_group=piece.space_group,
            provenance={
                "index": piece.draw.index,
                "volume_factor": round(crystal.volume_factor, 6),
                "mesh": list(piece.divisions),
                "fermi_level": round(optics.fermi_level, 5),
            },
        )
    )


class _Workshop:
    """Builds crystals and, where the device is the CPU, solves them. Each worker process has one."""

    def __init__(self, plan: SubstitutionPlan, model: TightBinding) -> None:
        # One crystal a batch, which is no slower on a CPU: spectra then do not depend on who is solved together, bit
        # for bit, so that an interrupted build ends in the same bytes.
        self.plan, self.engine = plan, TightBindingEngine(model, memory=1.0)

    def prepare(self, draws: Sequence[Decoration]) -> list[_Piece]:
        """Build the crystals of some draws, with what the engine needs."""
        return [self._prepare(draw) for draw in draws]

    def solve(self, draws: Sequence[Decoration]) -> list[_Piece]:
        """Build and solve."""
        return solve_pieces(self.engine, self.prepare(draws))

    def _prepare(self, draw: Decoration) -> _Piece:
        crystal = build_substituted(self.plan, draw)
        lattice, numbers, position = crystal.lattice, crystal.numbers, crystal.position
        if crystal.closest_contact < CLOSEST_CONTACT:
            reason = f"two atoms are at {crystal.closest_contact:.2f} times the sum of their radii"
            return _Piece(draw, crystal, None, (0, 0, 0), Rejected(reason))
        if crystal.rotations is None:
            rotations = find_rotations(lattice, numbers, position)
            space_group: int | None = find_space_group(lattice, numbers, position)
            divisions = self.engine.divisions(lattice, rotations, len(numbers))
            mesh = irreducible_points(divisions, rotations)
        else:
            space_group = crystal.space_group
            divisions = self.engine.divisions(lattice, crystal.rotations, len(numbers))
            mesh = _mesh_of_type(draw.type_name, divisions)
        ready = self.engine.prepare(lattice, numbers, position, mesh=mesh)
        return _Piece(draw, crystal, space_group, divisions, ready)


@functools.lru_cache(maxsize=4096)
def _mesh_of_type(name: str, divisions: tuple[int, int, int]) -> Mesh:
    return irreducible_points(divisions, build_type(name).symmetry.distinct_rotations)


def solve_pieces(engine: TightBindingEngine, pieces: Sequence[_Piece]) -> list[_Piece]:
    """Return the pieces with their spectra in place of what the engine needed."""
    ready = [(i, piece.outcome) for i, piece in enumerate(pieces) if isinstance(piece.outcome, BlochInput)]
    results = list(pieces)
    for (i, _), outcome in zip(ready, engine.solve([crystal for _, crystal in ready]), strict=True):
        results[i] = replace(pieces[i], outcome=outcome)
    return results


_Solve = Callable[[Iterable[Decoration]], Iterator[_Piece]]


@contextmanager
def _solver(plan: SubstitutionPlan, device: str, workers: int, n: int) -> Iterator[_Solve]:
    """Yield a function that turns draws into solved pieces, in their order."""
    on_cuda = torch.device(device).type == "cuda"
    model = TightBinding.load().to("cpu", torch.float32)
    with ExitStack() as stack:
        if not on_cuda:
            _tabulate(model, plan, n)
            work = stack.enter_context(_workers(plan, model, workers))
            yield lambda draws: itertools.chain.from_iterable(work("solve", _chunks(draws, _CPU_TASK)))
            return
        work = stack.enter_context(_workers(plan, model, workers))
        model = model.to(device, torch.float32)
        _tabulate(model, plan, n)
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        engine = TightBindingEngine(model, memory=_CUDA_MEMORY_SHARE * free)
        thread = stack.enter_context(ThreadPoolExecutor(1))

        def solve(draws: Iterable[Decoration]) -> Iterator[_Piece]:
            prepared = itertools.chain.from_iterable(work("prepare", _chunks(draws, _CUDA_TASK)))
            batches = _chunks(prepared, _CUDA_BATCH)
            for done in _ahead(thread, functools.partial(solve_pieces, engine), batches, 1):
                yield from done

        yield solve


def _tabulate(model: TightBinding, plan: SubstitutionPlan, n: int) -> None:
    """Tabulate the pairs of elements that the first draws need, here and once, rather than in every worker."""
    pairs: set[tuple[int, int]] = set()
    for draw in itertools.islice(decorations(plan), min(n, _TABULATED)):
        numbers = [atomic_numbers[symbol] for symbol in draw.elements]
        pairs.update(itertools.product(numbers, numbers))
    first, second = torch.tensor(sorted(pairs), device=model.device).T
    somewhere = torch.tensor([[0.0, 0.0, 3.0]], dtype=model.dtype, device=model.device).expand(len(first), 3)
    model.pair_blocks(first, second, somewhere)


_workshop: _Workshop | None = None


def _open_workshop(plan: SubstitutionPlan, model: TightBinding) -> None:
    global _workshop  # the one place that the tasks of a worker process share
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    torch.set_num_threads(1)
    _workshop = _Workshop(plan, model)


def _in_workshop(method: str, draws: Sequence[Decoration]) -> list[_Piece]:
    return getattr(_workshop, method)(draws)


@contextmanager
def _workers(
    plan: SubstitutionPlan, model: TightBinding, count: int
) -> Iterator[Callable[..., Iterator[list[_Piece]]]]:
    """Yield a function that has worker processes apply a method of their workshop to tasks, in order."""
    if count == 1:
        workshop = _Workshop(plan, model)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield lambda method, tasks: map(getattr(workshop, method), tasks)
        finally:
            torch.set_num_threads(threads)
        return
    pool = ProcessPoolExecutor(
        count, mp_context=torch.multiprocessing.get_context("spawn"), initializer=_open_workshop, initargs=(plan, model)
    )
    try:
        yield lambda method, tasks: _ahead(pool, functools.partial(_in_workshop, method), tasks, 4 * count)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _ahead(
    pool: Executor, function: Callable[[_Item], _Result], tasks: Iterable[_Item], depth: int
) -> Iterator[_Result]:
    """Map a function over tasks in order, with up to `depth` tasks ahead of the one asked for."""
    waiting: deque[Future[_Result]] = deque()
    for task in tasks:
        waiting.append(pool.submit(function, task))
        if len(waiting) > depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
