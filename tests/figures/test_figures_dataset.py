from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import make_dataset
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.cli.data_info import element_counts
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.figures.dataset import element_numbers, figure_dataset, space_group_text

from .reading import assert_readable, shown_labels, tick_texts

pytestmark = pytest.mark.filterwarnings("error:::matplotlib")


def materials(n: int, *, prototypes: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "n_sites": 1 + np.arange(n) % 10,
            "reduced_formula": np.array(["Al", "AlNi", "AlNiTi", "AgAuCuPd"])[np.arange(n) % 4],
            "space_group": 1 + (np.arange(n) ** 2) % 200,
            "prototype": [f"C{number % prototypes}_b" for number in range(n)],
            "omega_D": rng.gamma(6, 1, n),
            "band_gap": rng.uniform(0, 1, n),
        }
    )


@pytest.mark.parametrize("n", [1, 30, 5000])
def test_the_figure_is_readable_for_small_and_large_sets(n: int) -> None:
    fig = figure_dataset(materials(n), np.linspace(9, 40, n), scalars={"omega_D": "eV", "band_gap": "eV"})
    assert len(fig.get_axes()) == 7
    assert_readable(fig)


def test_bars_and_histograms_hold_every_material() -> None:
    frame = materials(300)
    sites, elements, volume, omega_D, *_ = figure_dataset(
        frame, np.linspace(9, 40, 300), scalars={"omega_D": "eV"}
    ).get_axes()
    assert [bar.get_height() for bar in sites.patches] == [30] * 10
    assert [bar.get_height() for bar in elements.patches] == [75] * 4
    for axes in (volume, omega_D):
        assert sum(bar.get_height() for bar in axes.patches) == 300
    assert [text.get_text() for text in sites.texts] == ["30"] * 10
    assert omega_D.get_xlabel() == r"$\omega_D$ (eV)"


def test_the_commonest_names_are_shown_and_the_others_counted() -> None:
    frame = materials(300, prototypes=15).assign(space_group=[225] * 200 + [194] * 100)
    *_, groups, prototypes = figure_dataset(frame, np.ones(300), scalars={}).get_axes()
    assert tick_texts(groups.yaxis) == [r"P6$_{3}$/mmc 194", r"Fm$\overline{3}$m 225"]
    assert [bar.get_width() for bar in groups.patches] == [100, 200]
    assert len(shown_labels(prototypes.yaxis)) == 12
    assert prototypes.texts[-1].get_text() == "and 3 more"


def test_what_a_set_does_not_have_has_no_panel() -> None:
    frame = materials(5).assign(prototype=None, space_group=np.nan)
    assert len(figure_dataset(frame, np.ones(5), scalars={}).get_axes()) == 3
    with pytest.raises(UserError, match="no material to show"):
        figure_dataset(frame[:0], np.ones(0), scalars={})


def test_names() -> None:
    assert space_group_text(1) == "P1 1"
    assert list(element_numbers(["AlNi", "Al", "AlNi"])) == [2, 1, 2]


def test_elements_are_counted_once_a_material(dataset: OpticalDataset) -> None:
    expected: dict[str, int] = {}
    for row in range(len(dataset)):
        for symbol in set(dataset.atoms(row).get_chemical_symbols()):
            expected[symbol] = expected.get(symbol, 0) + 1
    assert element_counts(dataset) == expected


def test_the_command_shows_what_the_set_holds(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set")
    result = CliRunner().invoke(
        app, ["data", "info", str(dataset.folder), "--out", str(tmp_path / "pictures")], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 0, result.output
    omega_D = dataset.scalars[:, 0]
    said = " ".join(result.output.split())
    assert "materials 30, 30 compositions split none of its own" in said
    assert f"omega_D (eV) {omega_D.min():.4g} {np.median(omega_D):.4g} {omega_D.max():.4g}" in said
    assert dataset.hash in said
    assert "re, im at 21 energies from 0 to 20 eV" in said
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "dataset.pdf", "dataset.png", "elements.pdf", "elements.png", "spectra.pdf", "spectra.png",
    }  # fmt: skip
