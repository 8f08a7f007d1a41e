from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from optiscale.errors import UserError
from optiscale.spectra import ENERGIES, read_record
from optiscale.spectra.compute import compute_shelf
from optiscale.spectra.gpaw_recipe import NEWEST
from optiscale.spectra.interpreter import find_gpaw
from optiscale.structures import plan_materials

PLAN = [material.id for material in plan_materials(12)]


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


@pytest.fixture
def compute(out, make_python):
    """Run compute_shelf with the stand-in."""
    python = make_python()

    def run(**options):
        return compute_shelf(out, python=python, **({"limit": 4, "nice": 0} | options))

    return run


def started(out):
    path = out / "started.txt"
    return path.read_text().split() if path.exists() else []


def test_the_plan_is_computed_in_order_and_continued(compute, out):
    assert compute(limit=3).done == tuple(PLAN[:3])
    (out / f"{PLAN[1]}.npz").unlink()
    assert compute(limit=3, workers=2).done == (PLAN[1], PLAN[3], PLAN[4])
    assert not list(out.glob(".*"))  # no locks or temporary files stay
    assert len(started(out)) == 6


def test_excluded_materials_are_left_out(compute, out):
    assert compute(limit=2, exclude={PLAN[0], PLAN[2]}).done == (PLAN[1], PLAN[3])


def test_a_material_whose_twin_is_there_is_left_out(compute, out):
    assert PLAN[4] == "B2_Ni-Al"
    assert compute(limit=5, exclude={"B2_Al-Ni"}).done == (*PLAN[:4], PLAN[5])
    (out / "B2_Al-Ni.npz").write_bytes(b"record")
    assert compute(limit=1).done == (PLAN[6],)


def test_records_with_too_coarse_a_mesh_are_computed_again_roughest_first(compute, out, write_record):
    def jagged(name, spacing, **more):
        """A record whose spectrum is a comb of separate peaks."""
        comb = sum(1 / (center**2 - ENERGIES**2 - 0.2j * ENERGIES) for center in np.arange(1, 19, spacing))
        eps_inter = np.array([1 + comb] * 3, dtype=np.complex64)
        write_record(eps_inter=eps_inter, prototype=np.array(name.rsplit("_", 1)[0]), **more).rename(
            out / f"{name}.npz"
        )

    jagged("B2_Ni-Al", 0.5, volume_scale=np.array(0.9))
    jagged("L1_2_Cu-Nb", 0.8)
    jagged("B2_Zn-Tl", 0.8, recipe_version=np.array(NEWEST))  # as good as the newest recipe makes it
    band = np.array([1 + 60 / (25 - ENERGIES**2 - 3j * ENERGIES)] * 3, dtype=np.complex64)
    write_record(eps_inter=band).rename(out / "B2_Ag-Cu.npz")
    (out / "B2_Ni-Al.wish").write_text("fail")
    result = compute(refine=True, limit=None)
    assert started(out) == ["L1_2_Cu-Nb", "B2_Ni-Al"]
    assert (result.done, result.failed) == (("L1_2_Cu-Nb",), ("B2_Ni-Al",))
    assert read_record(out / "B2_Ni-Al.npz").provenance["volume_scale"] == 0.9  # the old record stays
    assert (out / "L1_2_Cu-Nb.npz").read_bytes() == b"record"


def test_a_failed_material_is_not_tried_again_unless_asked(compute, out):
    (out / f"{PLAN[1]}.wish").write_text("fail")
    first = compute(limit=3)
    assert first.failed == (PLAN[1],)
    assert first.done == (PLAN[0], PLAN[2])
    assert compute(limit=1).done == (PLAN[3],)
    (out / f"{PLAN[1]}.wish").unlink()
    assert compute(limit=1, retry_failed=True).done == (PLAN[1],)
    assert not list(out.glob("*.failed.json"))


def test_what_is_not_the_materials_fault_stops_everything_with_one_line(compute, out):
    (out / f"{PLAN[1]}.wish").write_text("crash")
    with pytest.raises(UserError, match="MemoryError: no room") as error:
        compute()
    assert PLAN[1] in str(error.value)
    assert "\n" not in str(error.value)
    assert (out / f"{PLAN[0]}.npz").exists()
    assert not (out / f"{PLAN[1]}.failed.json").exists()
    assert PLAN[3] not in started(out)


def test_a_killed_calculation_is_left_for_the_next_call(compute, out):
    (out / f"{PLAN[0]}.wish").write_text("signal")
    first = compute(limit=2)
    assert (first.left, first.done) == ((PLAN[0],), (PLAN[1],))
    (out / f"{PLAN[0]}.wish").unlink()
    (out / f".{PLAN[0]}.npz.abc.tmp").write_bytes(b"half a record")
    assert compute(limit=1).done == (PLAN[0],)
    assert not list(out.glob(".*"))


def test_a_material_of_another_program_is_not_touched(compute, out):
    temporary = out / f".{PLAN[0]}.npz.abc.tmp"
    temporary.write_bytes(b"being written")
    descriptor = os.open(out / f".{PLAN[0]}.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        result = compute(limit=2)
    finally:
        os.close(descriptor)
    assert (result.elsewhere, result.done) == ((PLAN[0],), (PLAN[1],))
    assert temporary.exists()


PROGRAM = """
import signal, sys
from pathlib import Path
from optiscale.spectra.compute import compute_shelf
signal.signal(signal.SIGINT, signal.default_int_handler)
print(compute_shelf(Path(sys.argv[1]), python=sys.argv[2], limit=4, nice=0).left)
"""


def start_program(out, python, **options):
    """Start another program on the folder and wait until it computes."""
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, str(out), python], **options)
    while PLAN[0] not in started(out):
        assert program.poll() is None
        time.sleep(0.02)
    return program


def test_an_interrupt_lets_the_running_material_finish(out, make_python):
    (out / f"{PLAN[0]}.wish").write_text("sleep 1.5")
    program = start_program(out, make_python(), stdout=subprocess.PIPE, text=True)
    program.send_signal(signal.SIGINT)
    printed, _ = program.communicate(timeout=30)
    assert program.returncode == 0
    assert "interrupted: what is done is kept" in printed
    assert str(tuple(PLAN[1:4])) in printed
    assert (out / f"{PLAN[0]}.npz").exists()
    assert started(out) == PLAN[:1]


def test_two_programs_share_a_folder_and_a_killed_one_leaves_its_running_material_alone(compute, out, make_python):
    (out / f"{PLAN[0]}.wish").write_text("sleep 3")
    other = start_program(out, make_python())
    other.kill()
    other.wait()
    result = compute(limit=3)  # while the orphan still computes the first material
    assert (result.elsewhere, result.done) == ((PLAN[0],), (PLAN[1], PLAN[2]))
    deadline = time.time() + 30
    while not (out / f"{PLAN[0]}.npz").exists():
        assert time.time() < deadline
        time.sleep(0.05)
    assert sorted(started(out)) == sorted(PLAN[:3])  # nothing twice, nothing lost


def test_nothing_starts_after_the_time_is_over(compute, out):
    (out / f"{PLAN[0]}.wish").write_text("sleep 1.2")
    result = compute(limit=3, hours=1 / 3600)
    assert (result.done, result.left) == ((PLAN[0],), (PLAN[1], PLAN[2]))


def test_a_log_gets_plain_lines(compute, out, capsys):
    (out / f"{PLAN[1]}.wish").write_text("fail")
    compute(limit=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{PLAN[0]} done: 1 of 2, 1 done, 0 failed, ")
    assert lines[1].startswith(f"{PLAN[1]} failed: 2 of 2, 1 done, 1 failed, 0 min left")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"engine": "vasp"}, "engine 'vasp'"),
        ({"workers": 0}, "workers"),
        ({"hours": 0.0}, "hours"),
        ({"limit": 0}, "limit"),
    ],
)
def test_impossible_arguments_are_named(compute, options, word):
    with pytest.raises(UserError, match=word):
        compute(**options)


def test_an_interpreter_without_a_usable_gpaw_is_refused_with_the_remedy(make_python, tmp_path):
    assert find_gpaw(make_python()) == make_python()
    with pytest.raises(UserError, match=r"\(GPAW 25\.1\.0\).*apt-get install gpaw") as error:
        find_gpaw(make_python("25.1.0"))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="does not start"):
        find_gpaw(str(tmp_path / "absent"))
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\necho hello\n")
    silent.chmod(0o755)
    with pytest.raises(UserError, match="is no Python"):
        find_gpaw(str(silent))
