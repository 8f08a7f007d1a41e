from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

# Stands in for an interpreter with GPAW: takes the recipe's arguments, checks the job, and answers within a moment. The
# behaviour for a material can be chosen by a file of its name beside the records.
FAKE = """#!{python}
import json, os, signal, sys, time
from pathlib import Path
assert sys.argv[1].endswith("gpaw_recipe.py")
if sys.argv[2:] == ["--check"]:
    print(json.dumps({{"gpaw": "{version}"}}))
    sys.exit()
job = json.load(sys.stdin)
assert os.environ["OMP_NUM_THREADS"] == "1"
assert len(job["cell"]) == 3 and len(job["numbers"]) == len(job["positions"]) and job["recipe_version"] >= 2
out = Path(job["out"])
with (out / "started.txt").open("a") as stream:
    stream.write(job["id"] + "\\n")
wish = out / (job["id"] + ".wish")
wish = wish.read_text() if wish.exists() else "done"
if wish == "fail":
    (out / (job["id"] + ".failed.json")).write_text(json.dumps({{"id": job["id"], "reason": "does not converge"}}))
elif wish == "crash":
    sys.exit("MemoryError: no room")
elif wish == "signal":
    os.kill(os.getpid(), signal.SIGKILL)
else:
    time.sleep(float(wish.partition(" ")[2] or 0))
    (out / (job["id"] + ".npz")).write_bytes(b"record")
"""


@pytest.fixture
def make_python(tmp_path):
    """Make a program that behaves like an interpreter with GPAW of a version."""

    def make(version: str = "22.8.0") -> str:
        path = tmp_path / f"python-with-gpaw-{version}"
        path.write_text(textwrap.dedent(FAKE).format(python=sys.executable, version=version))
        path.chmod(0o755)
        return str(path)

    return make


def lorentz(energies: np.ndarray, strength: float, center: float, width: float) -> np.ndarray:
    """One oscillator above vacuum."""
    return 1 + strength / (center**2 - energies**2 - 1j * width * energies)


@pytest.fixture
def record_fields():
    """Fields of a record whose directions differ."""
    energies = np.linspace(0, 20, 2001)
    return {
        "cell": 3 * np.eye(3),
        "numbers": np.array([28, 13]),
        "positions": np.array([[0, 0, 0], [1.5, 1.5, 1.5]]),
        "eps_inter": np.array([lorentz(energies, 10.0 * axis, 3, 0.5) for axis in (1, 2, 3)], dtype=np.complex64),
        "omega_D2": np.diag([30.0, 36.0, 42.0]),
        "kpts": np.array([16, 16, 16]),
        "nbands": np.array(26),
        "emax": np.array(23.3),
        "volume_scale": np.array(1.0),
        "prototype": np.array("B2"),
        "gpaw": np.array("22.8.0"),
    }


@pytest.fixture
def write_record(tmp_path, record_fields):
    """Write a record with some fields replaced (None: left out)."""

    def write(**changes: object) -> Path:
        path = tmp_path / "B2_Ni-Al.npz"
        np.savez_compressed(path, **{name: v for name, v in (record_fields | changes).items() if v is not None})
        return path

    return write
