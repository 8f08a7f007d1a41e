from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small import study_content

from optiscale.config import load_study, parse_study, save_study
from optiscale.errors import UserError

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
DEMO = EXPERIMENTS / "demo.yaml"


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_study_is_valid(path: Path) -> None:
    assert load_study(path).name == path.stem


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.batchsize=3", "unknown field training.batchsize; did you mean 'batch_size'?"),
        ("training.batch_size=1", "training.batch_size: input should be greater than or equal to 2 (got 1)"),
        ("training.batch_size=abc", "training.batch_size: input should be a valid integer (got 'abc')"),
        ("training.batch_size=16.5", "training.batch_size"),
        ("data.split.train=0.9", "data.split: train + validation + test is 1.2, must be 1"),
        ("grid.0.model=X", "grid names the model 'X'; models has"),
        ("grid.0.seeds=[1, 1]", "grid.0.seeds: [1, 1] repeats a value"),
        ("training.length.epochs=5", "training.length: give exactly one of epochs and steps"),
        ("models.OptiMetal2B-TC.training={batch_sizes: 3}", "did you mean 'batch_size'?"),
        ("graph.cutoff=-1", "graph.cutoff: input should be greater than 0 (got -1)"),
        ("graph.angle_cutoff=9.0", "angle_cutoff 9.0 is beyond cutoff 5.5"),
        ("grid.9.model=X", "'9' is not a place in a list of 2"),
        ("nonsense", "write it as key=value"),
        ("graph.cutoff=.inf", "graph.cutoff: input should be a finite number"),
        ("training.schedule.warmup=600", "the warm-up of 600 steps fills the length of 600"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(override: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load_study(DEMO, [override])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("models.magpie-forest.baseline.type=magpie-tree", "models.magpie-forest.baseline: input tag 'magpie-tree'"),
        ("models.magpie-forest.baseline.leavs=3", "leavs; did you mean 'leaves'?"),
        ("models.magpie-ridge.baseline.leaves=3", "leaves; known fields: type, alpha"),
        ("models.magpie-ridge.baseline.alpha=0", "alpha: input should be greater than 0 (got 0)"),
        ("models.magpie-ridge.optimizer={lr: 1.0e-3}", "a baseline has no network and no optimizer"),
        (
            "models.magpie-ridge.baseline=null",
            "models.magpie-ridge: field network is missing; add it, or name a baseline",
        ),
        ("grid.0.trees=[3]", "grid has trees for 'OptiMetal2B-TC', which is no forest"),
        ("grid.2.trees=[3]", "grid has trees for 'magpie-ridge', which is no forest"),
        ("grid.1.widths=[3]", "grid has widths for 'magpie-forest', which is a baseline; a forest varies in trees"),
        ("grid.1.trees=[3, 3]", "grid.1.trees: [3, 3] repeats a value"),
    ],
)
def test_what_is_wrong_with_a_baseline_is_said_in_one_line(override: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load_study(EXPERIMENTS / "baselines.yaml", [override])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_study_of_baselines_reads_back_equal(tmp_path: Path) -> None:
    study = load_study(EXPERIMENTS / "baselines.yaml")
    save_study(study, tmp_path / "study.yaml")
    assert load_study(tmp_path / "study.yaml") == study


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: cannot be read"):
        load_study(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1, 2")
    with pytest.raises(UserError, match=r"broken\.yaml: not valid YAML"):
        load_study(tmp_path / "broken.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: Größe".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml: not valid YAML"):
        load_study(tmp_path / "latin.yaml")
    (tmp_path / "doubled.yaml").write_text("name: one\nname: two\n")
    with pytest.raises(UserError, match="the key 'name' stands twice"):
        load_study(tmp_path / "doubled.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(UserError, match=r"empty\.yaml: holds no fields"):
        load_study(tmp_path / "empty.yaml")


def test_a_missing_field_is_named() -> None:
    content = study_content("x")
    del content["grid"]
    with pytest.raises(UserError, match="field grid is missing"):
        parse_study(content)


def test_a_models_training_goes_over_the_studys() -> None:
    content = study_content("x")
    content["models"]["2B"]["training"] = {"batch_size": 8, "length": {"epochs": 3}}  # type: ignore[index]
    training = parse_study(content).models["2B"].training
    assert (training.batch_size, training.length.epochs, training.length.steps) == (8, 3, None)
    assert training.schedule.warmup == 2


def test_the_resolved_study_reads_back_equal(tmp_path: Path) -> None:
    study = load_study(DEMO, ["training.batch_size=32"])
    save_study(study, tmp_path / "study.yaml")
    assert load_study(tmp_path / "study.yaml") == study
    later = load_study(tmp_path / "study.yaml", ["training.batch_size=8"])
    assert {model.training.batch_size for model in later.models.values()} == {8}
    assert yaml.safe_load((tmp_path / "study.yaml").read_text())["training"]["batch_size"] == 32


def test_the_published_grid_has_294_cells() -> None:
    from optiscale.sweep import cells_of

    sizes = {path.stem: len(list(cells_of(load_study(path)))) for path in EXPERIMENTS.glob("paper_*.yaml")}
    assert sizes == {
        "paper_data_1d": 63,
        "paper_parameters_1d": 63,
        "paper_grid_2d": 294,
        "paper_lr_scaling": 40,
    }


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3", "+1e-03"])
def test_a_number_may_be_written_as_people_write_it(text: str) -> None:
    study = load_study(DEMO, [f"models.OptiMetal2B-TC.optimizer.lr={text}"])
    assert study.models["OptiMetal2B-TC"].optimizer.lr == 1e-3
