from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from small import make_dataset, study_content
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.config import load_study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep import join, run_grid


def content_of(source: Path, seeds: list[int], **changes: object) -> dict[str, object]:
    content = study_content(source, **changes)
    content["grid"][0]["seeds"] = seeds  # type: ignore[index]
    return content


@pytest.fixture(scope="module")
def folders(dataset: OpticalDataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Results of two machines, each with some of the seeds, and of one that ran all."""
    base = tmp_path_factory.mktemp("machines")
    for name, seeds in (("one", [1]), ("two", [2, 3]), ("all", [1, 2, 3])):
        run_grid(parse_study(content_of(dataset.folder, seeds)), base / name)
    return {name: base / name for name in ("one", "two", "all")}


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / f"copy-{folder.name}"))


def test_folders_of_two_machines_make_the_study_of_one(folders: dict[str, Path], tmp_path: Path) -> None:
    joined = join([folders["one"], folders["two"]], tmp_path / "out")
    assert joined.missing == []
    for name in ("runs.parquet", "curves.parquet"):
        one, two = (pd.read_parquet(folder / name) for folder in (tmp_path / "out", folders["all"]))
        passing = ["wall_s", "validation_s", "graphs_per_s", "peak_memory_mb", "recorded_at"]
        pd.testing.assert_frame_equal(*(table.drop(columns=passing, errors="ignore") for table in (one, two)))
    assert run_grid(joined.study, tmp_path / "out").ran == 0, "the grid has nothing left to do"


def test_cells_without_a_result_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    part = copy_of(folders["two"], tmp_path)
    shutil.rmtree(part / "cells" / "2B_W8_D8_s3_t0")
    said = CliRunner().invoke(app, ["merge", str(folders["one"]), str(part), "--out", str(tmp_path / "out")])
    assert said.exit_code == 1
    assert "1 cells have no result yet, 2B_W8_D8_s3_t0 is the first" in said.output
    assert run_grid(load_study(tmp_path / "out" / "resolved.yaml"), tmp_path / "out").ran == 1


def test_what_does_not_fit_is_refused(folders: dict[str, Path], dataset: OpticalDataset, tmp_path: Path) -> None:
    one, two = folders["one"], folders["two"]

    def refused(others: list[Path], said: str) -> None:
        with pytest.raises(UserError, match=said):
            join(others, tmp_path / "out")
        assert not (tmp_path / "out").exists(), "nothing is written"

    refused([one, one.parent / "all"], "2B_W8_D4_s1_t0 has its record in .*one, too; keep one of the two")
    refused([one, tmp_path], "no results folder")
    with pytest.raises(UserError, match="not empty; name a new folder"):
        join([one, two], one)
    content = content_of(dataset.folder, [2])
    content["training"]["batch_size"] = 5  # type: ignore[index]
    run_grid(parse_study(content), tmp_path / "changed")
    refused([one, tmp_path / "changed"], r"not the study of .*: models\.2B\.training\.batch_size was 4, is 5")
    other = make_dataset(tmp_path / "data", n=29)
    run_grid(parse_study(content_of(other.folder, [2])), tmp_path / "elsewhere")
    refused([one, tmp_path / "elsewhere"], f"data set {other.hash}, but .* has {dataset.hash}")
    foreign = copy_of(two, tmp_path)
    (foreign / "cells" / "2B_W8_D8_s3_t0").rename(foreign / "cells" / "2B_W8_D8_s9_t0")
    refused([one, foreign], "not a cell of the grid")
    curve = foreign / "cells" / "2B_W8_D8_s2_t0" / "curve.parquet"
    (foreign / "cells" / "2B_W8_D8_s9_t0").rename(foreign / "cells" / "2B_W8_D8_s3_t0")
    curve.write_bytes(curve.read_bytes()[:-9])
    refused([one, foreign], "curve.parquet: damaged")


def test_a_branch_keeps_both_studies_and_what_still_holds(
    folders: dict[str, Path], dataset: OpticalDataset, tmp_path: Path
) -> None:
    out = copy_of(folders["one"], tmp_path)
    before = {path: path.read_bytes() for path in out.rglob("record.json")}
    content = content_of(dataset.folder, [1])
    content["models"]["other"] = {**content["models"]["2B"], "training": {"batch_size": 5}}  # type: ignore[index]
    content["grid"].append({"model": "other", "widths": [8], "data_sizes": [4], "seeds": [1]})  # type: ignore[attr-defined]
    assert run_grid(parse_study(content), out).ran == 1, "a new model disturbs nobody"
    content["models"]["other"]["training"] = {"batch_size": 6}  # type: ignore[index]
    with pytest.raises(UserError, match=r"models\.other\.training\.batch_size was 5, is 6; keep both with --branch"):
        run_grid(parse_study(content), out)
    result = run_grid(parse_study(content), out, branch_name="wide")
    assert (result.ran, len(result.runs), result.out) == (1, 3, tmp_path / "copy-one-wide")
    assert before.items() <= {path: path.read_bytes() for path in out.rglob("record.json")}.items()
    assert run_grid(parse_study(content), out, branch_name="wide").ran == 0
    with pytest.raises(UserError, match="no name of a folder"):
        run_grid(parse_study(content), out, branch_name="../wide")
