"""A disk that is really full: a small file system in a namespace of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from faults import assert_same_results, faulty_study, records_in, undisturbed

from optiscale.config import parse_study
from optiscale.dataset import OpticalDataset

GRID = "from optiscale.cli import grid; grid._finish = lambda *_: None; from optiscale.run import main; main()"


def can_mount() -> bool:
    """Whether a small file system can be made, and grow."""
    if shutil.which("unshare") is None:
        return False
    words = "mount -t tmpfs -o size=64k tmpfs /mnt && mount -o remount,size=128k /mnt"
    return subprocess.run(["unshare", "-Urm", "sh", "-c", words], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="needs mount namespaces")
def test_a_study_goes_on_when_a_full_disk_has_room_again(dataset: OpticalDataset, tmp_path: Path) -> None:
    content = faulty_study(dataset.folder, retries=1)
    whole = undisturbed(content, tmp_path / "undisturbed")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    disk, full, later = tmp_path / "disk", tmp_path / "full", tmp_path / "later"
    disk.mkdir()
    grid = shlex.join([sys.executable, "-c", GRID, "grid", str(tmp_path / "study.yaml"), "--out", str(disk / "out")])
    script = f"""
        mount -t tmpfs -o size=24k tmpfs {disk}
        {grid}; echo full: $?
        df --output=avail {disk} | tail -n 1
        cp -r {disk}/out {full}
        mount -o remount,size=20m {disk}
        {grid}; echo later: $?
        cp -r {disk}/out {later}
    """
    said = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    output = said.stdout + said.stderr
    assert "No space left on device" in output, output
    assert "full: 0" not in said.stdout, output
    assert "later: 0" in said.stdout, output
    kept = records_in(full)
    done = {cell for cell, record in kept.items() if record["status"] == "finished"}
    assert len(done) < 6, "the disk was full too late for the test"
    assert_same_results(later, whole, parse_study(content))
    for cell in done:
        path = Path("cells") / cell / "record.json"
        assert (full / path).read_bytes() == (later / path).read_bytes(), "no finished run is repeated"
