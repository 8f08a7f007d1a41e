from __future__ import annotations

import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from killing import FORK, bytes_of, survives_a_kill_at_any_step, survives_kills_at_random_times
from small import make_dataset, small_materials, write_materials

from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.graphs import GraphStore, crystal_graph
from optiscale.graphs import build as build_module
from optiscale.graphs.build import GRAPH_ARRAYS, build_graphs
from optiscale.graphs.store import damaged_graphs

CUTOFFS = {"cutoff": 5.5, "angle_cutoff": 4.0}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "_CHUNK", 7)
    monkeypatch.setattr(build_module, "_COMMIT", 14)


@pytest.fixture(scope="module")
def store(dataset: OpticalDataset) -> GraphStore:
    return GraphStore.open(dataset, **CUTOFFS)


def test_the_cache_holds_every_graph(dataset: OpticalDataset, store: GraphStore) -> None:
    for row in range(len(dataset)):
        atoms = dataset.atoms(row)
        graph = crystal_graph(atoms.cell.array, atoms.positions, **CUTOFFS)
        edges = slice(*store.edge_offset[row : row + 2])
        angles = slice(*store.angle_offset[row : row + 2])
        for name in ("edge_source", "edge_target", "edge_image"):
            np.testing.assert_array_equal(getattr(store, name)[edges], getattr(graph, name))
        for name in ("angle_first", "angle_second"):
            np.testing.assert_array_equal(getattr(store, name)[angles], getattr(graph, name))
        np.testing.assert_array_equal(store.edge_length[edges], np.float32(graph.edge_length))
        np.testing.assert_array_equal(store.angle_cos[angles], np.float32(graph.angle_cos))


def test_whole_numbers_take_the_least_room_that_holds_them(tmp_path: Path, store: GraphStore) -> None:
    assert (store.edge_source.dtype, store.edge_image.dtype) == (np.uint8, np.int8)
    material = small_materials(2)[1]
    far = material.position + np.array([[0, 0, 0], [200, 0, 0]]) @ material.lattice
    dataset = write_materials(tmp_path / "far", [replace(material, position=far)])
    assert GraphStore.open(dataset, **CUTOFFS).edge_image.dtype == np.int16


def test_the_rows_are_told_as_they_are_done(dataset: OpticalDataset, tmp_path: Path) -> None:
    told = []

    def track(rows: object, total: int) -> object:
        told.append(total)
        for row in rows:  # type: ignore[attr-defined]
            told.append(row)
            yield row

    build_graphs(dataset, tmp_path / "graphs", **CUTOFFS, track=track)  # type: ignore[arg-type]
    assert told == [len(dataset), *range(len(dataset))]


def test_any_number_of_processes_builds_the_same_bytes(
    dataset: OpticalDataset, store: GraphStore, tmp_path: Path
) -> None:
    told: list[int] = []
    track = lambda rows, total: (told.append(row) or row for row in rows)  # noqa: E731
    for workers in (2, 3):
        build_graphs(dataset, tmp_path / f"{workers}", **CUTOFFS, workers=workers, track=track)  # type: ignore[arg-type]
        assert bytes_of(tmp_path / f"{workers}") == bytes_of(store.folder)
    assert told == 2 * list(range(len(dataset)))


def test_a_killed_worker_is_told_and_the_build_goes_on(
    dataset: OpticalDataset, store: GraphStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_part = build_module._flat_graphs

    def dies(crystals: object, **cutoffs: float) -> object:
        if len(crystals.lattice) < 7:  # type: ignore[attr-defined]  the last of all
            os.kill(os.getpid(), signal.SIGKILL)
        return build_part(crystals, **cutoffs)  # type: ignore[arg-type]

    told: list[int] = []
    track = lambda rows, total: (told.append(row) or row for row in rows)  # noqa: E731
    monkeypatch.setattr(build_module, "_flat_graphs", dies)
    with pytest.raises(UserError, match="was killed, for lack of memory perhaps; the same command goes on from there"):
        build_graphs(dataset, tmp_path / "graphs", **CUTOFFS, workers=2, track=track)  # type: ignore[arg-type]
    monkeypatch.undo()
    assert told[:28] == list(range(28)), "what came before the last commit"
    told.clear()
    build_graphs(dataset, tmp_path / "graphs", **CUTOFFS, track=track)  # type: ignore[arg-type]
    assert told[0] == 28
    assert bytes_of(tmp_path / "graphs") == bytes_of(store.folder)


def _said_workers(answers: object) -> None:
    answers.put(build_module._workers(10**6))  # type: ignore[attr-defined]


def test_processes_are_those_of_the_affinity_mask_and_a_child_starts_none() -> None:
    assert build_module._workers(10**6) == len(os.sched_getaffinity(0))
    assert build_module._workers(10) == 1
    answers = FORK.SimpleQueue()
    child = FORK.Process(target=_said_workers, args=(answers,))
    child.start()
    child.join()
    assert answers.get() == 1


def test_crystals_without_edges_are_kept(tmp_path: Path) -> None:
    lone = replace(
        small_materials(1)[0], lattice=20 * np.eye(3), atomic_number=np.array([13]), position=np.zeros((1, 3))
    )
    bonded = small_materials(2)[1]
    alone = GraphStore.open(write_materials(tmp_path / "alone", [lone]), **CUTOFFS)
    assert (alone.merged_atom_offset.tolist(), alone.edge_offset.tolist()) == ([0, 1], [0, 0])
    both = GraphStore.open(write_materials(tmp_path / "both", [lone, bonded]), **CUTOFFS)
    assert both.edge_offset[1] == both.merged_edge_offset[1] == 0
    assert both.edge_offset[2] > both.merged_edge_offset[2] > 0


def test_a_build_killed_at_any_step_goes_on_to_the_same_bytes(
    dataset: OpticalDataset, store: GraphStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(folder: Path) -> None:
        build_graphs(dataset, folder, **CUTOFFS)

    steps = survives_a_kill_at_any_step(build, bytes_of(store.folder), tmp_path, monkeypatch)
    assert steps > 30, "fewer steps were tried than a build has"
    survives_kills_at_random_times(build, bytes_of(store.folder), tmp_path, builds=3)


def test_two_programs_build_the_same_graphs(dataset: OpticalDataset, store: GraphStore, tmp_path: Path) -> None:
    shutil.copytree(dataset.folder, tmp_path / "set", ignore=shutil.ignore_patterns("graphs"))
    copy, ready = OpticalDataset(tmp_path / "set"), FORK.Barrier(2)

    def work() -> None:
        ready.wait()
        GraphStore.open(copy, **CUTOFFS)

    programs = [FORK.Process(target=work) for _ in range(2)]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
        assert program.exitcode == 0
    assert [path.name for path in (copy.folder / "graphs").iterdir()] == [store.folder.name]
    assert bytes_of(copy.folder / "graphs" / store.folder.name) == bytes_of(store.folder)


def test_what_killed_builds_left_is_removed_unless_a_program_holds_it(dataset: OpticalDataset, tmp_path: Path) -> None:
    def die(folder: Path) -> None:
        rows = iter(range(5))
        build_graphs(dataset, folder, **CUTOFFS, track=lambda *_: (1 / (4 - row) for row in rows))  # type: ignore[arg-type,misc]

    for name in ("left", "held"):
        with pytest.raises(ZeroDivisionError):
            die(tmp_path / name)
        assert (tmp_path / f".{name}.building").exists()
    ready, enough = FORK.Event(), FORK.Event()

    def hold() -> None:
        def wait(rows: object, total: int) -> object:
            ready.set()
            enough.wait(60)
            return rows

        build_graphs(dataset, tmp_path / "held", **CUTOFFS, track=wait)  # type: ignore[arg-type]

    holder = FORK.Process(target=hold)
    holder.start()
    assert ready.wait(60)
    build_graphs(dataset, tmp_path / "mine", **CUTOFFS)
    assert {path.name for path in tmp_path.iterdir()} == {"mine", ".held.building", ".held.lock"}
    enough.set()
    holder.join()
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "held"}


def test_graphs_are_cached(dataset: OpticalDataset, store: GraphStore) -> None:
    before = (store.folder / "edge_length.npy").stat().st_mtime_ns
    again = GraphStore.open(dataset, **CUTOFFS)
    assert (again.folder / "edge_length.npy").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", GRAPH_ARRAYS)
def test_a_damaged_cache_is_named(tmp_path: Path, name: str) -> None:
    dataset = make_dataset(tmp_path / "set", n=3)
    folder = GraphStore.open(dataset, **CUTOFFS).folder
    path = folder / f"{name}.npy"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    assert damaged_graphs(folder) == [f"{name}.npy has another checksum"]
    path.write_bytes(whole[:-8])
    said = f"{folder}: damaged: {name}.npy has {len(whole) - 8} bytes, not {len(whole)}; remove the folder"
    with pytest.raises(UserError, match=re.escape(said)):
        GraphStore.open(dataset, **CUTOFFS)


def test_a_cache_without_its_list_is_named(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set", n=3)
    folder = GraphStore.open(dataset, **CUTOFFS).folder
    (folder / "graphs.json").write_text("{")
    with pytest.raises(UserError, match=r"graphs\.json is missing or not readable; remove the folder"):
        GraphStore.open(dataset, **CUTOFFS)
    (folder / "graphs.json").unlink()
    with pytest.raises(UserError, match="something else is there already"):
        GraphStore.open(dataset, **CUTOFFS)
