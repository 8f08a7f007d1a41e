from __future__ import annotations

from itertools import combinations, pairwise

import colour
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from optiscale.figures.style import (
    NETWORKS,
    log_axis,
    log_ticks,
    network_styles,
    new_figure,
    paper_style,
    save_figure,
    short_number,
    size_colors,
    spread,
    tick_labels,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8, "8"),
        (128, "128"),
        (2500, "2.5k"),
        (10_000, "10k"),
        (160_000, "160k"),
        (278_275, "278k"),
        (999_999, "1M"),
        (8_140_195, "8.14M"),
        (130_933_667, "131M"),
        (2.5e9, "2.5G"),
        (0.6, "0.6"),
    ],
)
def test_short_number(value: float, text: str) -> None:
    assert short_number(value) == text


def test_log_ticks_are_round_inside_and_as_coarse_as_asked() -> None:
    assert log_ticks(2.5e5, 1.4e8, at_least=3) == [1e6, 1e7, 1e8]
    assert log_ticks(2.5e5, 1.4e8, at_least=5) == [3e5, 1e6, 3e6, 1e7, 3e7, 1e8]
    assert log_ticks(0.45, 1.8, at_least=5) == [0.5, 0.6, 0.8, 1.0, 1.2, 1.6]
    narrow = log_ticks(1.001, 1.02)
    assert len(narrow) >= 3
    assert all(1.001 <= tick <= 1.02 for tick in narrow)


def test_losses_are_written_with_equal_decimals_and_sizes_are_not() -> None:
    assert tick_labels([0.5, 0.8, 1.0]) == ["0.5", "0.8", "1.0"]
    assert tick_labels([2500, 10_000]) == ["2.5k", "10k"]
    assert tick_labels([1, 2, 5]) == ["1", "2", "5"]


def test_spread_keeps_the_largest_and_leaves_room() -> None:
    sizes = [8.0 * 2**i for i in range(12)]
    kept = spread(sizes, low=8, high=8 * 2**11, most=6)
    assert kept[-1] == sizes[-1]
    assert all(b / a >= 2 ** (11 / 6) for a, b in pairwise(kept))


def test_log_axis_has_no_minor_ticks_and_keeps_a_mark_where_a_label_has_no_room() -> None:
    axes = new_figure(width=2, height=2).subplots()
    log_axis(axes, "x", values=[8, 128], at=[8, 9, 128])
    assert list(axes.xaxis.get_majorticklocs()) == [8, 9, 128]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["", "9", "128"]
    assert len(axes.xaxis.get_minorticklocs()) == 0
    low, high = axes.get_xlim()
    assert low < 8 < 128 < high


def test_log_axis_of_a_single_value() -> None:
    axes = new_figure(width=2, height=2).subplots()
    log_axis(axes, "y", values=[1.0])
    assert axes.get_ylim()[0] < 1.0 < axes.get_ylim()[1]


def test_networks_differ_in_colour_and_marker_and_keep_them() -> None:
    assert len({style.color for style in NETWORKS.values()}) == len(NETWORKS)
    assert len({style.marker for style in NETWORKS.values()}) == len(NETWORKS)
    alone, together = network_styles(["OptiMetal3B-TC"]), network_styles(["mine", "OptiMetal3B-TC", "OptiMetal2B-TC"])
    assert alone["OptiMetal3B-TC"] == together["OptiMetal3B-TC"]
    assert list(together) == ["OptiMetal2B-TC", "OptiMetal3B-TC", "mine"]
    assert together["mine"].color not in {style.color for style in NETWORKS.values()}


@pytest.mark.filterwarnings("ignore:.*simulation of tritanomaly")
@pytest.mark.parametrize("deficiency", ["Protanomaly", "Deuteranomaly", "Tritanomaly"])
def test_networks_are_told_apart_without_full_colour_vision(deficiency: str) -> None:
    # Machado et al. (2009) at full severity; a CIE 1976 difference of 10 is seen at a glance.
    seen = colour.matrix_cvd_Machado2009(deficiency, 1.0)
    colors = []
    for style in NETWORKS.values():
        linear = np.clip(seen @ colour.cctf_decoding(np.array(to_rgb(style.color))), 0, 1)
        colors.append(colour.XYZ_to_Lab(colour.RGB_to_XYZ(linear, "sRGB")))
    assert min(np.linalg.norm(a - b) for a, b in combinations(colors, 2)) > 10


def test_size_colours_are_ordered_by_lightness() -> None:
    colors = list(size_colors([128, 8, 32, 16, 64]).values())
    lightness = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b, _ in colors]
    assert lightness == sorted(lightness)
    assert len(size_colors([5, 5])) == 1


def _figure() -> Figure:
    with paper_style():
        fig = new_figure(width=2, height=1.5)
        fig.subplots().plot([1, 2], [1, 3], label=r"$\omega_D$")
    return fig


def test_saved_figures_have_the_same_bytes_each_time(tmp_path) -> None:
    first = save_figure(_figure(), tmp_path / "a", "figure")
    second = save_figure(_figure(), tmp_path / "b", "figure")
    assert [path.name for path in first] == ["figure.png", "figure.pdf"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert b"CreationDate" not in first[1].read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["figure.pdf", "figure.png"]


def test_drawing_leaves_the_settings_of_the_caller() -> None:
    before = dict(mpl.rcParams)
    _figure()
    assert dict(mpl.rcParams) == before
