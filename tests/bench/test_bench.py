from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from optiscale.bench.roofline import step_counts
from optiscale.bench.table import PUBLISHED_D, PUBLISHED_VALIDATION, PUBLISHED_WIDTHS, grid_hours, markdown
from optiscale.cli.app import app
from optiscale.dataset.source import open_source
from optiscale.graphs import GraphStore
from optiscale.io import read_json
from optiscale.networks import NetworkConfig, TargetSpec, build_network

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shelf_graphs():
    return GraphStore.open(open_source("dft-shelf"), cutoff=5.5, angle_cutoff=4.0)


def optimetal():
    targets = TargetSpec(n_omega=2001, components=("re", "im"), scalars=("omega_D",))
    return build_network(NetworkConfig(type="OptiMetal2B", width=16), targets, cutoff=5.5, angle_cutoff=4.0)


BYTES = {"merged_products_mbyte": 1.5, "other_mbyte": 0.5}


def row(model, width, *, train, validation):
    rates = {"fast_train": train, "fast_validation": validation, "plain_train": train / 2, "plain_validation": 1.0}
    return {"model": model, "width": width, "whole_mflop": 9.0, "merged_mflop": 1.0, "first_s": 2.0, **rates, **BYTES}


def test_the_hours_of_the_published_grid_are_graphs_over_rates():
    rows = [row(model, width, train=1e4, validation=1e5) for model in ("2B-TC", "3B-TC") for width in PUBLISHED_WIDTHS]
    trained = 2 * 3 * 500 * len(PUBLISHED_WIDTHS) * sum(PUBLISHED_D)
    validated = 294 * 500 * PUBLISHED_VALIDATION
    assert grid_hours({"rows": rows}, path="fast") == pytest.approx((trained / 1e4 + validated / 1e5) / 3600)
    # a width between two measured ones takes the slower rate, one beyond all has none
    slower = [*rows[:5], row("2B-TC", 1024, train=1e3, validation=1e5), *rows[7:]]
    assert grid_hours({"rows": slower}, path="fast") > grid_hours({"rows": rows}, path="fast")
    assert grid_hours({"rows": rows[:-1]}, path="fast") is None


@pytest.mark.parametrize(("tflops", "tbytes", "share"), [(2.0, 100.0, 50), (100.0, 4.0, 50), (100.0, 2.0, 100)])
def test_the_table_shows_ratios_and_the_share_of_the_roofline(tflops, tbytes, share):
    rows = [row("3B-TC", 16, train=1e6, validation=3.0)]
    line = markdown({"rows": rows, "matrix_tflops": tflops, "copy_tbytes": tbytes}).splitlines()[-1]
    assert "| 3B-TC 16 | 500,000 | 1,000,000 | 2.0 |" in line
    assert f"| 3.0 | 9.0 | 1.0 | 2.00 | {share} % |" in line


def test_a_step_moves_at_least_its_matrices(shelf_graphs):
    counted = {
        lowered: step_counts(optimetal(), shelf_graphs, np.arange(8), lowered=lowered) for lowered in (False, True)
    }
    full, half = counted[False], counted[True]
    assert full["merged_products_mbyte"] == pytest.approx(2 * half["merged_products_mbyte"])
    assert full["merged_products_mbyte"] < full["whole_products_mbyte"]
    # the head's last product alone, forward and backward: weights (4002 x W) three times
    assert full["merged_products_mbyte"] * 8 > 3 * 4 * 4002 * 16 / 1e6


def test_a_small_measurement_runs_and_leaves_its_numbers(tmp_path):
    out = tmp_path / "bench.json"
    arguments = [
        "bench",
        "--case",
        "3B-TC:16",
        "--n",
        "64",
        "--epochs",
        "4",
        "--data",
        str(tmp_path),
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = read_json(out)
    (line,) = found["rows"]
    assert min(line["fast_train"], line["plain_train"], found["matrix_tflops"]) > 0
    assert line["merged_mflop"] < line["whole_mflop"]
    assert found["merged_graph"]["edge"] < found["whole_graph"]["edges"]


def test_the_page_has_the_numbers_of_the_result_files():
    spec = importlib.util.spec_from_file_location("speed_docs", ROOT / "benchmarks" / "speed_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.filled() == (ROOT / "benchmarks" / "README.md").read_text(), "run `python benchmarks/speed_docs.py`"
