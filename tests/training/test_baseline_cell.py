from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from small import small_materials, study_content, write_materials

from optiscale.baselines import estimators
from optiscale.config import Study, parse_study
from optiscale.dataset import OpticalDataset, Scalar
from optiscale.dataset.writer import Material
from optiscale.errors import UserError
from optiscale.training import Cell, cell_hash, learning_rate, make_network, parameters_of, run_cell, target_spec
from optiscale.training.baseline import fit_baseline

FOREST, RIDGE = Cell("forest", 5, 12, 1, 0), Cell("ridge", None, 12, 1, 0)


def baselines(source: Path, **changes: object) -> Study:
    models = {
        "forest": {"baseline": {"type": "magpie-forest", "trees": 7, "leaves": 4}},
        "ridge": {"baseline": {"type": "magpie-ridge"}},
    }
    grid = [
        {"model": "forest", "trees": [5, 9], "data_sizes": [4, 12], "seeds": [1]},
        {"model": "ridge", "data_sizes": [4, 12], "seeds": [1]},
    ]
    return parse_study(study_content(source, **{"models": models, "grid": grid, **changes}))


@pytest.fixture
def study(dataset: OpticalDataset) -> Study:
    return baselines(dataset.folder)


@pytest.fixture(scope="module")
def scalar_set(tmp_path_factory: pytest.TempPathFactory) -> OpticalDataset:
    """Two scalar targets, no spectra."""

    def bare(one: Material) -> Material:
        values = np.array([one.scalars[0], one.atomic_number.mean() - 30])
        return Material(
            id=one.id,
            lattice=one.lattice,
            atomic_number=one.atomic_number,
            position=one.position,
            spectrum=None,
            scalars=values,
        )

    return write_materials(
        tmp_path_factory.mktemp("scalars") / "set",
        [bare(one) for one in small_materials()],
        energy=None,
        components=(),
        scalars=(Scalar(name="n", unit="1"), Scalar(name="shift", unit="GPa", nonnegative=False)),
    )


@pytest.mark.parametrize("cell", [FOREST, RIDGE])
def test_l_val_is_the_loss_of_the_networks(study: Study, dataset: OpticalDataset, tmp_path: Path, cell: Cell) -> None:
    record = run_cell(study, cell, dataset, tmp_path)
    fitted = fit_baseline(study, cell, dataset)
    rows = fitted.rows["validation"]
    spectrum, scalars = fitted.predict(rows)
    assert spectrum is not None
    assert scalars is not None
    true = np.asarray(dataset.spectrum)[rows]
    eps = np.mean([np.abs(spectrum[i].reshape(true[i].shape) - true[i]).mean() for i in range(len(rows))])
    omega_D = np.abs(scalars[:, 0] - dataset.scalars[rows, 0]).mean()
    assert record["val_eps_loss"] == pytest.approx(eps, rel=1e-9)
    assert record["val_drude_loss"] == pytest.approx(omega_D, rel=1e-9)
    assert record["val_loss"] == record["val_eps_loss"] + record["val_drude_loss"]
    mean = np.asarray(dataset.spectrum)[fitted.rows["train"]].mean(axis=0)
    constant = np.abs(true - mean).mean()
    assert eps < constant, "better than the mean of the training spectra"
    assert run_cell(study, cell, dataset, tmp_path / "again")["val_loss"] == record["val_loss"]


def test_the_record_says_what_made_it(study: Study, dataset: OpticalDataset, tmp_path: Path) -> None:
    run_cell(study, FOREST, dataset, tmp_path)
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["model"], record["width"], record["D"], record["status"]) == ("forest", 5, 12, "finished")
    assert record["N"] == 5 * 4 * (42 + 1) == parameters_of(study, FOREST, target_spec_of(study, dataset))
    assert record["config_hash"] == cell_hash(study, FOREST)
    assert record["data_hash"] == dataset.hash
    assert {name.partition("=")[0] for name in record["versions"].split()} >= {"matminer", "scikit-learn", "numpy"}
    assert record["validate_every"] is None
    assert 0 < record["train_loss"] < record["val_loss"]
    assert record["wall_s"] > 0
    assert record["peak_memory_mb"] > 10
    assert {path.name for path in tmp_path.iterdir()} == {"record.json"}, "no weights, no curve"


def target_spec_of(study: Study, dataset: OpticalDataset):
    return target_spec(study.models["forest"], dataset.manifest)


def test_the_hash_follows_what_can_change_the_result_and_nothing_else(dataset: OpticalDataset) -> None:
    study = baselines(dataset.folder)
    same = baselines(dataset.folder, graph={"cutoff": 6.0}, training={"length": {"epochs": 9}})
    assert cell_hash(same, FOREST) == cell_hash(study, FOREST)
    others = [
        cell_hash(baselines(dataset.folder, data={**study.model_dump()["data"], "split": {"seed": 3}}), FOREST),
        cell_hash(study, Cell("forest", 9, 12, 1, 0)),
        cell_hash(study, RIDGE),
        cell_hash(
            baselines(
                dataset.folder,
                models={"forest": {"baseline": {"type": "magpie-forest", "leaves": 5}}},
                grid=[{"model": "forest", "data_sizes": [4], "seeds": [1]}],
            ),
            FOREST,
        ),
    ]
    assert len({cell_hash(study, FOREST), *others}) == 5


def test_sets_of_scalars_alone_are_learnt(scalar_set: OpticalDataset, tmp_path: Path) -> None:
    study = baselines(scalar_set.folder)
    for cell in (FOREST, RIDGE):
        record = run_cell(study, cell, scalar_set, tmp_path / cell.id)
        assert math.isnan(record["val_eps_loss"])
        assert record["val_loss"] == record["val_drude_loss"] > 0
    assert record["N"] == 133 * 2


def test_a_network_learns_scalars_alone(scalar_set: OpticalDataset, tmp_path: Path) -> None:
    study = parse_study(study_content(scalar_set.folder))
    cell = Cell("2B", 8, 8, 1, 0)
    targets = target_spec(study.models["2B"], scalar_set.manifest)
    network = make_network(study, cell, targets)
    assert network.readout.spectrum is None
    assert len(network.readout.scalars) == 2
    record = run_cell(study, cell, scalar_set, tmp_path)
    assert record["status"] == "finished", record["message"]
    assert math.isnan(record["val_eps_loss"])
    assert record["val_loss"] == record["val_drude_loss"] > 0
    only_n = parse_study({**study.resolved(), "models": {"2B": {**study.resolved()["models"]["2B"], "scalars": ["n"]}}})
    assert run_cell(only_n, cell, scalar_set, tmp_path / "n")["N"] < record["N"]


def test_a_fit_that_fails_is_recorded(
    study: Study, dataset: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate\n5 TiB")

    monkeypatch.setattr(estimators.MagpieBaseline, "fit", lambda *_, **__: fail())
    record = run_cell(study, FOREST, dataset, tmp_path)
    assert record["status"] == "out_of_memory"
    assert record["message"] == "MemoryError: Unable to allocate 5 TiB"
    assert math.isnan(record["val_loss"])
    assert "Traceback" in (tmp_path / "error.txt").read_text()


def test_an_interrupted_fit_is_recorded_and_goes_on_interrupting(
    study: Study, dataset: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(estimators.MagpieBaseline, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        run_cell(study, FOREST, dataset, tmp_path)
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "interrupted"


def test_a_baseline_is_asked_for_nothing_of_a_network(study: Study, dataset: OpticalDataset) -> None:
    targets = target_spec_of(study, dataset)
    with pytest.raises(UserError, match=r"models\.forest: a baseline has no network"):
        make_network(study, FOREST, targets)
    with pytest.raises(UserError, match=r"models\.forest: a baseline has no optimizer"):
        learning_rate(study, FOREST, targets)
