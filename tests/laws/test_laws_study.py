from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from optiscale.errors import UserError
from optiscale.laws import FitOptions, StudyFits, average_seeds, fit_study, read_losses, write_tables
from optiscale.laws.functions import broken
from optiscale.laws.maps import kaplan

TRUTH = {"log10_Nc": 5.2, "log10_Dc": 4.4, "aN": 0.33, "a1": 0.17, "a2": 0.42}
SIZES = {16: 278_275, 32: 583_779, 64: 1_288_483, 128: 3_072_675}
DATA = (2500, 5000, 10_000, 20_000, 40_000)


def cells(
    model: str, sizes: dict[int, int], data: tuple[int, ...], *, seeds: int = 3, study: str = "s"
) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    rows = []
    for width, n in sizes.items():
        for d in data:
            mean = float(kaplan(n, d, **TRUTH))
            rows += [
                (study, model, d, n, width, seed, mean * (1 + rng.normal(0.0, 2e-3))) for seed in range(1, seeds + 1)
            ]
    return pd.DataFrame(rows, columns=["study", "model", "D", "N", "width", "seed", "val_loss"])


def fits_of(*frames: pd.DataFrame, **how) -> StudyFits:
    return fit_study(average_seeds(read_losses(pd.concat(frames))), **how)


@pytest.fixture(scope="module")
def demo() -> StudyFits:
    widths = {width: SIZES[width] for width in (16, 32, 64)}
    return fits_of(cells("2B-TC", widths, DATA, seeds=2), cells("3B-TC", {32: SIZES[32]}, DATA[:4], seeds=2))


def test_a_small_study_has_all_its_series(demo):
    found = [(one.model, one.kind, one.fixed, len(one.points)) for one in demo.series]
    assert found == [
        *(("2B-TC", "data", {"N": SIZES[width], "width": width}, 5) for width in (16, 32, 64)),
        *(("2B-TC", "parameters", {"D": d}, 3) for d in DATA),
        ("2B-TC", "map", {}, 15),
        ("3B-TC", "data", {"N": SIZES[32], "width": 32}, 4),
    ]
    assert list(demo.series[0].points.columns) == ["x", "N", "D", "width", "mean", "std", "n_seeds"]
    assert demo.series[0].points["x"].tolist() == list(DATA)
    assert demo.notes == ()


def test_three_points_take_the_laws_that_they_can(demo):
    series = next(one for one in demo.series if one.kind == "parameters")
    assert series.fits["power"].fitted
    assert series.best == "power"
    assert "too few sizes to hold any out" in series.choice.reason
    for name in ("floor", "broken", "broken_amplitude"):
        assert "3 points cannot fix" in series.fits[name].message


def test_the_map_recovers_its_truth(demo):
    fit = next(one for one in demo.series if one.kind == "map").fits["kaplan"]
    for name, truth in TRUTH.items():
        assert fit.params[name][0] == pytest.approx(truth, abs=0.2)


def test_the_law_with_the_lowest_criterion_is_best_and_the_ends_have_their_slopes():
    d = np.array([10, 31, 100, 1000, 10_000, 100_000, 1_000_000, 3_000_000, 10_000_000])
    frame = pd.DataFrame(
        {"model": "m", "D": d, "N": 5, "val_loss_mean": broken(d, 4.0, 0.1, 0.5), "val_loss_std": 1e-3}
    )
    (series,) = fit_study(average_seeds(read_losses(frame))).series
    assert series.best in {"broken", "broken_amplitude"}
    assert series.fits["broken"].params["xc"][0] == pytest.approx(1e4, rel=1e-3)
    assert series.breaks.broken == "broken"
    assert series.breaks.verdict.startswith("broken: the loss steepens")
    assert series.head.params["a"][0] == pytest.approx(0.1, abs=0.01)
    assert series.tail.params["a"][0] == pytest.approx(0.5, abs=0.01)
    assert (series.head.n, series.head.k) == (3, 2)


def test_a_cross_is_two_series_and_no_map():
    one_width, one_size = cells("m", {64: SIZES[64]}, DATA), cells("m", SIZES, (20_000,))
    frame = pd.concat([one_width, one_size]).drop_duplicates(["D", "N", "seed"])
    kinds = [one.kind for one in fits_of(frame).series]
    assert kinds == ["data", "parameters"]


def test_a_grid_with_many_holes_is_a_map_and_says_so():
    widths, data = list(SIZES)[:4], DATA[:5]
    frame = cells("m", {width: SIZES[width] for width in widths}, data)
    dropped = frame["D"].isin(data[2:]) & frame["N"].isin([SIZES[width] for width in widths[1:]])  # 11 of 20 are left
    dropped &= frame["N"] * frame["D"] != SIZES[widths[1]] * data[2]
    fits = fits_of(frame[~dropped])
    [grid] = [one for one in fits.series if one.kind == "map"]
    assert grid.best is not None
    assert len(grid.points) == 12
    assert any("m: 12 of the 20 cells of its grid (4 N, 5 D) were run" in note for note in fits.notes)


def test_studies_and_networks_are_never_mixed():
    fits = fits_of(*(cells("m", {16: SIZES[16]}, DATA, study=study) for study in ("one", "two")))
    assert [(one.study, one.kind) for one in fits.series] == [("one", "data"), ("two", "data")]


def test_too_few_points_and_unfinished_runs_are_noted():
    frame = cells("m", {16: SIZES[16]}, DATA[:3]).assign(status="finished")
    frame.loc[frame["D"] == DATA[0], "status"] = "diverged"
    fits = fits_of(frame)
    assert fits.series == []
    assert fits.notes == (
        "3 runs that did not finish are left out",
        "m of study s: no series of 3 points, nothing fitted",
    )


def test_a_single_seed_is_fitted_with_equal_weights():
    frame = cells("m", {16: SIZES[16]}, DATA, seeds=1)
    (series,) = fits_of(frame).series
    assert all("the residuals set the errors" in series.fits[name].notes[0] for name in ("power", "broken"))
    (series,) = fits_of(frame, protocol="published").series
    assert all("same weight" in series.fits[name].notes[0] for name in ("power", "broken"))


def test_saved_fits_read_back_equal(demo, tmp_path):
    path = tmp_path / "fits.json"
    demo.save(path)
    assert StudyFits.load(path) == demo
    again = StudyFits.load(path).series[0]
    np.testing.assert_array_equal(again.fits["power"].predict(x=[1e3]), demo.series[0].fits["power"].predict(x=[1e3]))


def test_a_foreign_file_is_one_line(tmp_path):
    for text in ("{", "[]", '{"schema": 99}'):
        path = tmp_path / "fits.json"
        path.write_text(text)
        with pytest.raises(UserError, match=r"fits\.json.*run the fit again"):
            StudyFits.load(path)


def test_tables_have_a_row_a_series_and_the_numbers_of_the_fits(demo, tmp_path):
    paths = write_tables(demo, tmp_path / "tables")
    assert [path.name for path in paths] == ["laws_1d.md", "laws_1d.tex", "maps_2d.md", "maps_2d.tex"]
    laws, maps = paths[0].read_text(), paths[2].read_text()
    over_d, over_n = (laws.index(f"Loss over {text}: error at") for text in ("data size D", "parameter count N"))
    held_out = laws[over_d : laws.index("AICc of every form")]
    assert len(re.findall(r"^\| [23]B-TC \|", held_out, re.MULTILINE)) == 4
    assert "last value" in held_out
    assert over_d < over_n
    assert "is it broken? (90 % interval)" in laws
    assert "Broken law, free sharpness, two breaks" not in laws  # no series has the points for nine parameters
    series = next(one for one in demo.series if one.kind == "map")
    fit = series.fits["kaplan"]
    value, stderr = fit.params["aN"]
    assert f"{value:.2f} ± {stderr:.2f}" in maps
    assert f"| {fit.redchi:.3f} | 15 | {fit.n_agree}/{fit.n_starts} |" in maps
    error = next(row.rmsle for row in series.choice.table if row.law == series.best)
    assert f"**{100 * error:.2f}**" in maps


def test_the_published_protocol_has_the_six_laws_and_the_lowest_aicc(tmp_path):
    frame = cells("m", SIZES, DATA)
    fits = fits_of(frame, protocol="published")
    series = next(one for one in fits.series if one.kind == "map")
    assert set(series.fits) == {"kaplan", "hoffmann"}
    assert series.best == "kaplan"
    assert series.choice is None
    line = next(one for one in fits.series if one.kind == "data")
    assert set(line.fits) == {"power", "floor", "broken", "broken_amplitude"}
    text = write_tables(fits, tmp_path)[0].read_text()
    assert "held-out" not in text
    assert StudyFits.from_dict(fits.to_dict()) == fits
    with pytest.raises(UserError, match="has no options"):
        fits_of(frame, protocol="published", options=FitOptions())


def test_seed_noise_is_pooled_over_the_whole_network(demo):
    noises = {one.fits["power"].noise for one in demo.series if one.model == "2B-TC" and one.kind != "map"}
    assert len(noises) == 1
    assert noises.pop().dof == 15


def test_latex_tables_are_well_formed(demo, tmp_path):
    for path in write_tables(demo, tmp_path):
        if path.suffix != ".tex":
            continue
        text = path.read_text()
        assert text.count("{") == text.count("}")
        assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\bottomrule") > 0
        for body in re.findall(r"\\begin\{tabular\}\{(.*?)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
            rows = [line for line in body[1].splitlines() if line.endswith(r"\\")]
            assert {row.count("&") + 1 for row in rows} == {len(body[0])}
        outside_math = re.sub(r"\$[^$]*\$", "", re.sub(r"^%.*$", "", text, flags=re.MULTILINE))
        assert "$" not in outside_math
        assert not re.search(r"(?<!\\)[_^#&](?!.*\\\\)", outside_math)
        assert "±" not in text


def test_tables_without_series_say_so(tmp_path):
    paths = write_tables(StudyFits(), tmp_path)
    assert all("No series of this kind" in path.read_text() for path in paths)


def test_the_station_stands_alone():
    code = (
        "import sys, optiscale.laws, optiscale.laws.compare\n"
        "ours = {m for m in sys.modules if m.startswith('optiscale.') and not m.startswith('optiscale.laws')}\n"
        "assert ours <= {'optiscale.errors', 'optiscale.io'}, ours\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
