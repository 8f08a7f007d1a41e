from __future__ import annotations

import numpy as np
import pandas as pd

from optiscale.evaluation import report, write_metrics
from optiscale.evaluation.predict import Predictions
from optiscale.networks import TargetSpec

ENERGIES = np.linspace(0, 20, 201)


def predictions(components: tuple[str, ...], scalars: tuple[str, ...]) -> Predictions:
    generator = np.random.default_rng(0)
    true, pred = generator.uniform(1, 5, size=(2, 3, len(ENERGIES), len(components)))
    omega_true, omega_pred = generator.uniform(3, 9, size=(2, 3, len(scalars)))
    return Predictions(
        record={},
        part="test",
        materials=pd.DataFrame(
            {"id": ["a", "b", "c"], "reduced_formula": ["AlNi", "CuZn", "AgMg"], "n_sites": [2, 2, 2]}
        ),
        energies=ENERGIES,
        targets=TargetSpec(n_omega=len(ENERGIES) if components else 0, components=components, scalars=scalars),
        spectrum_true=true if components else None,
        spectrum_pred=pred if components else None,
        scalars_true=omega_true if scalars else None,
        scalars_pred=omega_pred if scalars else None,
    )


def test_metrics_stand_beside_the_materials_they_judge(monkeypatch, tmp_path):
    made = predictions(("re", "im"), ("omega_D",))
    monkeypatch.setattr(report, "predict", lambda run, part: made)
    returned, metrics = report.evaluate_run(tmp_path, part="test")
    assert returned is made
    assert list(metrics["reduced_formula"]) == ["AlNi", "CuZn", "AgMg"]
    np.testing.assert_allclose(metrics["omega_D_error"], np.abs(made.scalars_pred - made.scalars_true)[:, 0])

    table, summary = write_metrics(metrics, tmp_path / "tables", "metrics_x_test")
    pd.testing.assert_frame_equal(pd.read_parquet(table), metrics)
    lines = summary.read_text().splitlines()
    assert lines[0].startswith("| metric | count | mean | std |")
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in lines[2:]}
    assert list(rows) == list(metrics.columns[2:])
    assert float(rows["dE"][1]) == float(f"{metrics['dE'].mean():.4g}")


def test_a_network_of_one_target_is_judged_by_it_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "predict", lambda run, part: predictions(("im",), ()))
    metrics = report.evaluate_run(tmp_path, part="test")[1]
    assert list(metrics) == ["id", "reduced_formula", "mae_im", "r2_im", "sc_im"]
    monkeypatch.setattr(report, "predict", lambda run, part: predictions((), ("omega_D",)))
    metrics = report.evaluate_run(tmp_path, part="test")[1]
    assert list(metrics) == ["id", "reduced_formula", "omega_D_error", "omega_D_error_percent"]


def test_any_scalar_target_is_judged_in_its_unit(monkeypatch, tmp_path):
    made = predictions((), ("n", "shear modulus"))
    monkeypatch.setattr(report, "predict", lambda run, part: made)
    metrics = report.evaluate_run(tmp_path, part="test")[1]
    errors = np.abs(made.scalars_pred - made.scalars_true)
    for place, name in enumerate(("n", "shear modulus")):
        np.testing.assert_allclose(metrics[f"{name}_error"], errors[:, place])
        np.testing.assert_allclose(
            metrics[f"{name}_error_percent"], 100 * errors[:, place] / made.scalars_true[:, place]
        )
