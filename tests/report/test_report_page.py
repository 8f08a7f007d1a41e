"""The page without a browser: harmless, complete, and its numbers those of the fits."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.errors import UserError
from optiscale.figures.style import short_number
from optiscale.laws import StudyFits
from optiscale.report import Evidence, read_evidence, render_page
from optiscale.report.charts.learning import thinned
from report.conftest import HOSTILE, HOSTILE_MODEL, D, N, figures, read, runs


def test_nothing_points_outside(page: str) -> None:
    for node in read(page).nodes:
        assert "src" not in node.attributes, node
        for name in ("href", "action", "data", "srcset", "poster"):
            target = node.attributes.get(name, "#")
            assert target.startswith("#") or target == "data:,", node
    style = next(read(page).all("style")).text
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_forbids_connections_and_foreign_scripts(page: str) -> None:
    reader = read(page)
    (policy,) = (n for n in reader.all("meta") if n.attributes.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.attributes["content"].split(";"))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    code = [node.text for node in reader.all("script") if "type" not in node.attributes]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code]
    assert rules["script-src"].split() == [f"'sha256-{one}'" for one in hashes]
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_what_files_say_is_text_never_markup(page: str) -> None:
    reader = read(page)
    assert len(list(reader.all("script"))) == 3
    assert not list(reader.all("img"))
    assert "alert(1)</script>" not in page
    assert next(reader.all("h1")).text == HOSTILE
    assert any(HOSTILE_MODEL in node.text for node in reader.all("h3"))
    assert not any("onerror" in node.attributes for node in reader.nodes)
    for chart in figures(page).values():  # plotly reads < in a text as the start of markup
        for variant in filter(None, chart["variants"]):
            for trace in variant["data"]:
                texts = [trace.get("name", ""), *np.atleast_1d(trace.get("text", "")), *trace.get("meta", [])]
                assert not any("<img" in str(text) or "<script" in str(text) for text in texts), trace


def test_headings_go_down_step_by_step_and_figures_have_words(page: str) -> None:
    reader = read(page)
    levels = [int(node.tag[1]) for node in reader.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    plots = [node for node in reader.nodes if node.attributes.get("class") == "drawing"]
    assert len(plots) == len(figures(page)) > 8
    assert all(len(node.attributes["aria-label"]) > 40 for node in plots)
    assert next(reader.all("html")).attributes["lang"] == "en"
    named = {node.attributes["for"] for node in reader.all("label") if "for" in node.attributes}
    assert {node.attributes["id"] for node in reader.all("select")} <= named


@pytest.mark.parametrize("theme", [0, 1])
def test_text_has_the_contrast_that_wcag_asks_for(page: str, theme: int) -> None:
    style = next(read(page).all("style")).text
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", style.split(":root")[1 + theme]))

    def luminance(color: str) -> float:
        parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(one: str, other: str) -> float:
        dark, light = sorted((luminance(colors[one]), luminance(colors[other])))
        return (light + 0.05) / (dark + 0.05)

    for text, ground in [("ink", "ground"), ("ink", "panel"), ("quiet", "panel"), ("link", "ground")]:
        assert contrast(text, ground) >= 4.5
    assert contrast("warn", "warn-ground") >= 4.5


def test_points_of_the_figure_are_the_means_and_the_line_is_the_law(page: str, evidence: Evidence) -> None:
    traces = figures(page)["losses-data"]["variants"][0]["data"]
    one = next(s for s in evidence.fits.series if s.kind == "data" and s.model == "net" and s.fixed["N"] == N[-1])
    mean = next(t for t in traces if "error_y" in t and t["legendgroup"] == "net")
    assert mean["x"] == list(D)
    np.testing.assert_allclose(mean["y"], one.points["mean"], rtol=1e-4)
    np.testing.assert_allclose(mean["error_y"]["array"], one.points["std"], rtol=1e-4)
    assert one.choice is not None
    line = next(t for t in traces if "customdata" in t and t["legendgroup"] == "net")
    np.testing.assert_allclose(line["y"], one.choice.predict(law=one.best, x=line["x"]), rtol=1e-4)
    low, high = one.choice.interval(law=one.best, x=line["x"])
    np.testing.assert_allclose(np.array(line["customdata"]), np.column_stack([low, high]), rtol=1e-3)
    seeds = next(t for t in traces if t.get("marker", {}).get("size") == 5 and t["legendgroup"] == "net")
    assert len(seeds["x"]) == 2 * len(D)
    assert "seed: 42" in seeds["text"][-1]
    assert "wall time" in seeds["text"][-1]


def test_forecasts_are_those_of_advice(page: str, evidence: Evidence) -> None:
    from optiscale.advice import forecast_losses

    one = next(s for s in evidence.fits.series if s.kind == "data" and s.model == "net" and s.fixed["N"] == N[-1])
    expected = forecast_losses(StudyFits(series=[one]), D=[2 * D[-1]])[0]
    traces = figures(page)["forecast-data"]["variants"][0]["data"]
    marks = next(t for t in traces if t["legendgroup"] == "net" and "forecast" in str(t.get("text")))
    assert marks["x"] == [factor * D[-1] for factor in (2, 5, 10)]
    assert marks["y"][0] == pytest.approx(expected.loss, rel=1e-4)
    cells = [float(n.attributes["data-value"]) for n in read(page).all("td") if "data-value" in n.attributes]
    assert {float(expected.loss), float(expected.low), float(expected.high)} <= set(cells)
    assert f"From D = {short_number(D[-1])} to {short_number(2 * D[-1])} " in page


def test_the_first_card_answers_in_words(page: str, evidence: Evidence) -> None:
    one = next(s for s in evidence.fits.series if s.kind == "data" and s.model == "net" and s.fixed["N"] == N[-1])
    assert one.breaks is not None
    where = one.breaks.position
    facts = _facts(page[page.index("<h3>net</h3>") :])
    assert facts["Is it broken?"].startswith(f"yes, D_c = {short_number(where.value)}")
    assert where.low is not None
    assert f"90\u00a0%: {short_number(where.low)} to" in facts["Is it broken?"]
    assert facts["Twice the data"].startswith("−")
    assert facts["Seed noise"].startswith("0.3")


def test_plan_counts_what_failed_and_what_it_cost(page: str) -> None:
    facts = _facts(page)
    total = len(runs())
    assert facts["Runs"] == str(total)
    assert facts["Finished"] == f"{total - 1} (1 failed)"
    assert facts["Cost"].startswith(f"{10 * total / 60:.3g} minutes")
    assert facts["hash of the data set"] == "d4"
    assert facts["SHA-256 of the losses"].isalnum()


def test_the_command_writes_the_same_small_file_again(page: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "page.html"
    said = CliRunner().invoke(app, ["report", str(folder), "--out", str(out)], catch_exceptions=False)
    assert said.exit_code == 0
    assert str(out) in said.output
    assert out.read_text(encoding="utf-8") == page
    assert out.stat().st_size < 6e6


@pytest.mark.parametrize("layout", ["runs", "points"])
def test_a_bare_table_says_what_is_not_known(tmp_path: Path, layout: str) -> None:
    table = runs().dropna()
    table = table[(table["model"] == "net") & (table["N"] == N[-1])]
    path = tmp_path / "mine.csv"
    if layout == "runs":
        table[["D", "N", "seed", "val_loss"]].rename(columns={"val_loss": "loss"}).to_csv(path, index=False)
    else:
        means = table.groupby(["D", "N"])["val_loss"].agg(val_loss_mean="mean", val_loss_std="std").reset_index()
        means.to_csv(path, index=False)
    text = render_page(read_evidence(path))
    facts = _facts(text)
    assert facts["versions"] == facts["study file"] == "not known: the table does not tell"
    assert facts["Cost" if layout == "runs" else "Runs, failures, cost"].startswith("not known")
    assert next(read(text).all("h1")).text == "mine"
    assert "learning" not in figures(text)
    assert "map-0" not in figures(text)
    assert figures(text)["losses-data"]["variants"][0]["data"]


def test_too_few_sizes_for_a_law_still_make_a_page(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    pd.DataFrame({"D": [10, 20], "N": [5, 5], "seed": [1, 1], "val_loss": [2.0, 1.5]}).to_csv(path, index=False)
    text = render_page(read_evidence(path))
    assert "no law to fit" in text
    assert figures(text) == {}


def test_a_network_without_a_width_has_its_row_in_the_plan(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"model": ["net", "ridge"], "width": pd.array([16, None], dtype="Int64"), "D": 10, "N": [5, 7]}
    )
    table.assign(seed=1, val_loss=2.0).to_parquet(tmp_path / "runs.parquet")  # as a study with a baseline leaves it
    text = render_page(read_evidence(tmp_path))
    plan = text[text.index('id="plan"') : text.index('id="tables"')]
    cells = [node.text for node in read(plan).all("td")]
    assert cells == ["net", "16", "5", "10", "1", *"–––", "ridge", "–", "7", "10", "1", *"–––"]


def test_saved_fits_are_taken_while_they_are_of_these_losses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from optiscale.report import study

    def refuse(*_: object, **__: object) -> StudyFits:
        raise AssertionError("fitted again")

    monkeypatch.setattr(study, "fit_study", refuse)
    read_evidence(folder)  # taken from fits.json
    changed = pd.read_parquet(folder / "runs.parquet")
    table = folder / "runs.parquet"
    before = table.read_bytes()
    try:
        changed.loc[0, "val_loss"] *= 1.5
        changed.to_parquet(table)
        with pytest.raises(AssertionError, match="fitted again"):
            read_evidence(folder)
    finally:
        table.write_bytes(before)


def test_what_is_no_study_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no runs.parquet in this folder: run the study first"):
        read_evidence(tmp_path)
    failed = runs().assign(status="failed")
    failed.to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(UserError, match="unfinished"):
        read_evidence(tmp_path)


def test_a_long_curve_keeps_its_ends_and_its_lowest_point() -> None:
    values = np.linspace(2.0, 1.0, 1001)
    values[777] = 0.5
    kept = thinned(values, 50)
    assert len(kept) <= 50
    assert {0, 777, 1000} <= set(kept)
    assert list(thinned(values[:20], 50)) == list(range(20))


def _facts(page: str) -> dict[str, str]:
    nodes = list(read(page).all("dt", "dd"))
    pairs = list(zip(nodes[::2], nodes[1::2], strict=True))
    return {name.text: value.text.strip() for name, value in reversed(pairs)}  # of many cards the first
