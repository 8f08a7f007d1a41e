from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.data import atomic_numbers
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from optiscale.errors import UserError
from optiscale.figures import report
from optiscale.figures.curves import figure_curves
from optiscale.figures.elements import element_counts, figure_elements, table_place
from optiscale.figures.parity import figure_parity
from optiscale.figures.report import draw_all, draw_published
from optiscale.figures.spectra import decile_materials, figure_spectra, formula_text
from optiscale.laws import StudyFits

from .reading import assert_readable

pytestmark = pytest.mark.filterwarnings("error")
MODELS = ["OptiMetal2B-TC", "OptiMetal3B-TC"]


def _curves(widths: dict[str, list[int | None]], *, steps: int | None = None, epochs: int = 20) -> pd.DataFrame:
    """Curves with a minimum at two thirds; the training loss stands in every row, validation in every second."""
    rows = []
    for model, all_widths in widths.items():
        for width in all_widths:
            for D in (8, 16, 64):
                last = epochs if steps is None else steps * 8 // D
                time = np.arange(1, last + 1)
                loss = (8 / D) ** 0.3 * (1 + 3 * (time / last - 2 / 3) ** 2)
                frame = pd.DataFrame({"epoch": time, "step": time * D // 8, "train_loss": loss / 2, "val_loss": loss})
                frame.loc[time % 2 == 1, "val_loss"] = np.nan
                rows.append(frame.assign(cell=f"{model}-{width}-{D}", model=model, width=width, D=D))
    return pd.concat(rows, ignore_index=True).astype({"width": "Int64"})


def test_curves_have_a_panel_a_network_and_width_and_mark_the_minimum() -> None:
    curves = _curves({"OptiMetal2B-TC": [16, 32], "OptiMetal3B-TC": [16]})
    fig = figure_curves(curves)
    assert_readable(fig)
    panels = [axes for axes in fig.get_axes() if axes.get_title()]
    titles = [axes.get_title() for axes in panels]
    assert titles == ["OptiMetal2B-TC, W = 16", "OptiMetal2B-TC, W = 32", "OptiMetal3B-TC, W = 16"]
    for axes in panels:
        model, _, width = axes.get_title().partition(", W = ")
        dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
        chosen = curves[(curves["model"] == model) & (curves["width"] == int(width))]
        lowest = chosen.groupby("D")["val_loss"].min()
        assert [dot.get_ydata()[0] for dot in dots] == pytest.approx(list(lowest))
        assert axes.get_yscale() == "log"


def test_curves_use_steps_when_the_epochs_differ() -> None:
    assert figure_curves(_curves({"OptiMetal2B-TC": [16]})).get_supxlabel() == "epoch"
    assert figure_curves(_curves({"OptiMetal2B-TC": [16]}, steps=64)).get_supxlabel() == "step"


def test_curves_of_a_network_without_width_and_of_many_widths() -> None:
    fig = figure_curves(_curves({"OptiMate": [None], "OptiMetal2B-TC": [16, 32, 64, 128, 256]}))
    assert_readable(fig)
    titles = [axes.get_title() for axes in fig.get_axes() if axes.get_title()]
    assert titles[0] == "OptiMate"
    assert len(titles) == 6


def test_curves_of_a_diverged_run_are_drawn_as_far_as_they_go() -> None:
    curves = _curves({"OptiMetal2B-TC": [16]})
    curves.loc[curves["D"] == 8, ["train_loss", "val_loss"]] = np.nan
    curves.loc[curves["D"] == 16, "train_loss"] = np.inf
    fig = figure_curves(curves)
    assert_readable(fig)
    assert len([line for line in fig.get_axes()[0].get_lines() if line.get_marker() == "o"]) == 2


def test_curves_refuse_a_frame_without_losses() -> None:
    curves = _curves({"OptiMetal2B-TC": [16]})
    with pytest.raises(UserError, match="no column 'val_loss'"):
        figure_curves(curves.drop(columns="val_loss"))
    with pytest.raises(UserError, match="finite val_loss"):
        figure_curves(curves.assign(val_loss=np.nan))


def _spectra(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    energies = np.linspace(0, 20, 201)
    centers = np.linspace(2, 6, n)[:, None]
    eps = 30 / (centers**2 - energies**2 - 0.6j * energies)
    true = np.stack([eps.real, eps.imag], axis=-1)
    return energies, true, true + np.arange(n)[:, None, None] * 0.01  # the error grows with the row


def test_spectra_show_the_deciles_by_error() -> None:
    energies, true, pred = _spectra(11)
    formulas = [f"Al{i}Cu" for i in range(2, 13)]
    fig = figure_spectra(energies, true, pred, components=("re", "im"), formulas=formulas)
    assert_readable(fig)
    panels = fig.get_axes()
    assert len(panels) == 6
    for column, row in enumerate((1, 5, 9)):
        assert panels[column].get_title() == (
            f"Al$_{{{row + 2}}}$Cu, {['best decile', 'median', 'worst decile'][column]}\nMAE {row * 0.01:.3f}"
        )
        for component in range(2):
            lines = panels[column + 3 * component].get_lines()
            np.testing.assert_array_equal(lines[1].get_ydata(), true[row, :, component])
            np.testing.assert_array_equal(lines[2].get_ydata(), pred[row, :, component])


def test_decile_materials_of_shuffled_errors() -> None:
    errors = np.random.default_rng(0).permutation(101) / 100
    assert list(errors[decile_materials(errors)]) == [0.10, 0.50, 0.90]
    assert decile_materials(np.array([0.3])) == [0, 0, 0]


def test_formulas_have_lowered_numbers() -> None:
    assert formula_text("LiSc2Ti10") == "LiSc$_{2}$Ti$_{10}$"


def test_spectra_refuse_shapes_that_do_not_agree() -> None:
    energies, true, pred = _spectra(3)
    with pytest.raises(UserError, match="arrays that agree"):
        figure_spectra(energies, true, pred[:, :, :1], components=("re", "im"), formulas=["Al"] * 3)


def test_parity_notes_error_and_r2() -> None:
    true = np.array([0.0, 1.0, 2.0, 3.0])
    fig = figure_parity({"OptiMetal2B-TC": (true, true + 0.5), "OptiMetal3B-TC": (true, true)})
    assert_readable(fig)
    texts = [text.get_text() for text in fig.legends[0].get_texts()]
    # R2 = 1 - 4 * 0.25 / 5
    assert texts == ["OptiMetal2B-TC: MAE 0.500 eV, $R^2$ 0.800", "OptiMetal3B-TC: MAE 0.000 eV, $R^2$ 1.000"]
    identity, first, _ = fig.get_axes()[0].get_lines()
    np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())
    np.testing.assert_array_equal(first.get_ydata(), true + 0.5)


def test_parity_names_the_target_and_its_unit():
    true = np.array([-1.0, 2.0, 4.0])
    for unit, label, error in (("GPa", "shear (GPa)", "MAE 0.500 GPa"), ("1", "shear", "MAE 0.500,")):
        axes = figure_parity({"forest": (true, true + 0.5)}, name="shear", unit=unit).axes[0]
        assert (axes.get_xlabel(), axes.get_ylabel()) == (f"true {label}", f"predicted {label}")
        assert error in str(axes.get_lines()[1].get_label())
        assert axes.get_xlim()[0] <= -1, "negative true values are inside"


def test_parity_refuses_arrays_of_two_lengths() -> None:
    with pytest.raises(UserError, match="3 true and 2 predicted"):
        figure_parity({"OptiMate": (np.ones(3), np.ones(2))})
    with pytest.raises(UserError, match="no network"):
        figure_parity({})


@pytest.mark.parametrize(
    ("symbol", "place"),
    [
        ("H", (1, 1)),
        ("He", (18, 1)),
        ("B", (13, 2)),
        ("Mg", (2, 3)),
        ("Al", (13, 3)),
        ("Sc", (3, 4)),
        ("Ba", (2, 6)),
        ("Hf", (4, 6)),
        ("Bi", (15, 6)),
        ("Ce", (4, 8.4)),
        ("Rf", (4, 7)),
        ("Og", (18, 7)),
    ],
)
def test_elements_stand_where_the_periodic_table_has_them(symbol: str, place: tuple[int, float]) -> None:
    assert table_place(atomic_numbers[symbol]) == place


def test_element_table_writes_every_count_in_readable_ink() -> None:
    counts = {"Li": 3, "Al": 12_345, "Cu": 400, "Bi": 1, "Pt": 60}
    axes = figure_elements(counts).get_axes()[0]
    inks = {text.get_text(): (text.get_position(), text.get_color()) for text in axes.texts}
    fills = {
        (round(patch.get_x() + 0.47), round(patch.get_y() + 0.47)): patch.get_facecolor()
        for patch in axes.patches
        if isinstance(patch, Rectangle)
    }
    for symbol, written in {"Li": "3", "Al": "12.3k", "Cu": "400", "Bi": "1", "Pt": "60"}.items():
        (group, row), ink = inks[symbol]
        assert written in inks
        assert _contrast(to_rgb(ink), fills[round(group), round(row)][:3]) > 3  # WCAG, large text
    assert "Ce" not in inks  # no lanthanide, no row for them
    assert "Fr" not in inks  # nothing below Bi's period


def _contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    def luminance(rgb: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted([luminance(one), luminance(other)], reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_element_table_adds_the_lanthanides_it_needs_and_survives_equal_counts() -> None:
    texts = [text.get_text() for text in figure_elements({"Nd": 7, "Fe": 7}).get_axes()[0].texts]
    assert {"Nd", "Ce", "Lu"} <= set(texts)
    assert texts.count("7") == 2


def test_elements_are_counted_once_a_material() -> None:
    assert element_counts(["Al2Cu", "Al", "CuAl3Zn"]) == {"Al": 3, "Cu": 2, "Zn": 1}


def test_element_table_refuses_what_is_no_element() -> None:
    with pytest.raises(UserError, match="'Xx'"):
        figure_elements({"Xx": 3})
    with pytest.raises(UserError, match="empty"):
        figure_elements({"Al": 0})


def test_all_figures_of_a_study_are_written(demo: StudyFits, tmp_path) -> None:
    written = draw_all(demo, _curves({"OptiMetal2B-TC": [16]}), tmp_path)
    lines = [f"data_{name}" for name in ("OptiMetal2B-TC", "OptiMetal3B-TC")]
    diagnostics = [f"diagnostics_{one}" for one in (*lines, "parameters_OptiMetal2B-TC", "map_OptiMetal2B-TC")]
    names = ("figure_1", "figure_2", "learning_curves", *diagnostics)
    assert {path.name for path in written} == {f"{name}.{end}" for name in names for end in ("png", "pdf")}
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"%PDF")


def test_the_published_figures_and_tables_are_written(
    published: StudyFits, demo: StudyFits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        report, "fit_study", lambda averages, protocol: published
    )  # the fits of the fixture, to save time
    names = {path.name for path in draw_published(tmp_path, demo)}
    assert {"figure_1.png", "figure_2.pdf", "figure_2_own_runs.png", "laws_1d.md", "maps_2d.tex"} <= names
    assert all((tmp_path / name).stat().st_size > 0 for name in names)
