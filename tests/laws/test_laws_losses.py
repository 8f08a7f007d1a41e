from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from optiscale.errors import UserError
from optiscale.laws import average_seeds, read_losses


def runs() -> pd.DataFrame:
    rows = [
        {
            "study": "s",
            "model": "2B",
            "D": d,
            "N": 1000,
            "width": 16,
            "seed": seed,
            "val_loss": 10 / d**0.5 + seed / 1e3,
        }
        for d in (100, 200, 400)
        for seed in (1, 42, 137)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_reads_and_averages_a_table_of_runs(tmp_path, suffix):
    path = tmp_path / f"runs.{suffix}"
    getattr(runs(), f"to_{suffix}")(path, index=False)
    averages = average_seeds(read_losses(path))
    assert list(averages.columns) == ["study", "model", "D", "N", "width", "n_seeds", "val_loss_mean", "val_loss_std"]
    seeds = np.array([1, 42, 137]) / 1e3
    np.testing.assert_allclose(averages["val_loss_mean"], 10 / np.sqrt([100, 200, 400]) + seeds.mean())
    np.testing.assert_allclose(averages["val_loss_std"], seeds.std(ddof=0))
    assert (averages["n_seeds"] == 3).all()


def test_needs_only_four_columns():
    averages = average_seeds(read_losses(runs()[["D", "N", "seed", "val_loss"]]))
    assert list(averages.columns) == ["model", "D", "N", "n_seeds", "val_loss_mean", "val_loss_std"]


@pytest.mark.parametrize("spelling", ["val_loss_std", "val_loss_std_ddof0"])
def test_reads_a_table_averaged_elsewhere(spelling):
    frame = average_seeds(read_losses(runs())).rename(columns={"val_loss_std": spelling})
    pd.testing.assert_frame_equal(average_seeds(read_losses(frame)), average_seeds(read_losses(runs())))
    assert (average_seeds(read_losses(frame.drop(columns="n_seeds")))["n_seeds"] == 0).all()


def test_numbers_written_as_text_are_numbers():
    frame = runs().astype({"D": str, "val_loss": object})
    pd.testing.assert_frame_equal(average_seeds(read_losses(frame)), average_seeds(read_losses(runs())))


def test_a_single_seed_has_no_spread():
    averages = average_seeds(read_losses(runs().query("seed == 1")))
    assert (averages["val_loss_std"] == 0).all()
    assert (averages["n_seeds"] == 1).all()


def test_unfinished_runs_are_left_out_and_counted():
    frame = runs().assign(status="finished")
    frame.loc[4, ["status", "val_loss"]] = ["diverged", np.nan]
    losses = read_losses(frame)
    assert len(losses) == 8
    assert losses.attrs["left_out"] == 1
    assert average_seeds(losses)["n_seeds"].tolist() == [3, 2, 3]


def test_message_passing_becomes_part_of_the_name():
    frame = pd.concat([runs().assign(message_passing=kind) for kind in ("CGC", "TC")])
    assert sorted(average_seeds(read_losses(frame))["model"].unique()) == ["2B-CGC", "2B-TC"]
    named = runs().assign(model="2B-TC", message_passing="TC")
    assert read_losses(named)["model"].unique().tolist() == ["2B-TC"]


def test_seeds_of_different_subsets_are_different_runs():
    frame = pd.concat([runs().assign(subset_seed=seed) for seed in (0, 1)])
    assert (average_seeds(read_losses(frame))["n_seeds"] == 6).all()


def changed(column: str, value: object) -> pd.DataFrame:
    frame = runs().astype({"D": float, "N": float})
    frame.loc[2, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (runs().drop(columns="val_loss"), "no column val_loss: needs D, N"),
        (runs().drop(columns=["D", "seed"]), "no column D, seed"),
        (average_seeds(runs()).drop(columns="val_loss_std"), "no column val_loss_std"),
        (runs().iloc[:0], "no losses to fit"),
        (runs().assign(status="diverged"), "all 9 rows are unfinished"),
        (changed("val_loss", np.nan), "val_loss of row 2 is nan, must be a positive number"),
        (changed("val_loss", -0.1), "val_loss of row 2 is -0.1, must be a positive number"),
        (changed("val_loss", np.inf), "val_loss of row 2 is inf"),
        (changed("D", 0.0), "D of row 2 is 0.0, must be a positive number"),
        (changed("N", 10.5), "N of row 2 is 10.5, must be a whole number"),
        (runs().assign(model=None), "model of row 0 is missing"),
        (runs().astype({"val_loss": object}).replace({"val_loss": runs()["val_loss"][0]}, "oops"), "val_loss of row 0"),
        (pd.concat([runs(), runs().iloc[[3]]]), "1 rows are doubled, first study s, model 2B, D 200, N 1000"),
        (average_seeds(runs()).assign(val_loss_std=-1.0), "val_loss_std of row 0 is -1.0, must be not negative"),
    ],
)
def test_bad_tables_are_one_line(frame, message):
    with pytest.raises(UserError) as caught:
        read_losses(frame)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_any_column_can_be_the_loss():
    frame = runs().assign(val_eps_loss=lambda table: 0.5 * table["val_loss"])
    losses = read_losses(frame, loss="val_eps_loss")
    np.testing.assert_allclose(losses["val_loss"], 0.5 * runs()["val_loss"])
    assert losses.attrs["loss"] == "val_eps_loss"
    spelt = runs().rename(columns={"val_loss": "loss"})
    np.testing.assert_allclose(read_losses(spelt)["val_loss"], runs()["val_loss"])
    points = average_seeds(losses).rename(columns={"val_loss_mean": "eps_mean", "val_loss_std": "eps_std"})
    np.testing.assert_allclose(read_losses(points, loss="eps")["val_loss_mean"], average_seeds(losses)["val_loss_mean"])
    with pytest.raises(UserError, match="no column val_nope: choose one of val_loss, val_eps_loss"):
        read_losses(frame, loss="val_nope")


def test_each_group_of_materials_is_a_study_of_its_own():
    frame = pd.concat([runs().assign(group=name) for name in ("oxides", "metals")])
    averages = average_seeds(read_losses(frame, by="group"))
    assert sorted(averages["study"].unique()) == ["s, group = metals", "s, group = oxides"]
    assert (averages["n_seeds"] == 3).all()
    with pytest.raises(UserError, match="no column kind to split by"):
        read_losses(frame, by="kind")
    with pytest.raises(UserError, match="group of row 0 is missing"):
        read_losses(frame.assign(group=None), by="group")


def test_the_order_of_the_rows_does_not_matter():
    shuffled = runs().sample(frac=1.0, random_state=0)
    pd.testing.assert_frame_equal(average_seeds(read_losses(shuffled)), average_seeds(read_losses(runs())))


def test_tables_together_name_the_files_that_repeat_a_run_or_do_not_fit(tmp_path):
    runs().to_csv(tmp_path / "a.csv", index=False)
    runs().iloc[:2].to_csv(tmp_path / "b.csv", index=False)
    runs().assign(seed=lambda table: table["seed"] + 500).to_csv(tmp_path / "c.csv", index=False)
    average_seeds(runs()).to_csv(tmp_path / "mean.csv", index=False)
    assert len(read_losses([tmp_path / "a.csv", tmp_path / "c.csv"])) == 18
    with pytest.raises(UserError, match=r"2 rows are doubled, first .* in .*a\.csv and .*b\.csv: keep one row each"):
        read_losses([tmp_path / "a.csv", tmp_path / "b.csv"])
    with pytest.raises(UserError, match=r"a\.csv, .*mean\.csv: some have a row a run, some a row a point"):
        read_losses([tmp_path / "a.csv", tmp_path / "mean.csv"])


def test_bad_files_are_one_line(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    (tmp_path / "notes.txt").write_text("model")
    for name, message in [
        ("empty.csv", "the file is empty"),
        ("torn.parquet", "not a readable parquet table"),
        ("binary.csv", "not a readable csv table"),
        ("notes.txt", "cannot read .txt"),
        ("absent.csv", "no such file"),
    ]:
        with pytest.raises(UserError) as caught:
            read_losses(tmp_path / name)
        assert message in str(caught.value)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_frame_given_is_not_changed():
    frame = runs().assign(message_passing="TC")
    before = frame.copy()
    read_losses(frame)
    pd.testing.assert_frame_equal(frame, before)
