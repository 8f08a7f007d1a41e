from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure

from optiscale.errors import UserError
from optiscale.figures.report import draw_all
from optiscale.figures.scaling import figure_1, figure_2, one_series_a_network, study_figures
from optiscale.laws import StudyFits, average_seeds, fit_study, load_published

from .reading import assert_readable, demo_losses, points_of, tick_texts

pytestmark = pytest.mark.filterwarnings("error")
SIZES = ["2.5k", "5k", "10k", "20k", "40k", "80k", "160k"]


def _panels(fig: Figure) -> list[Axes]:
    """Panels with data, without the colour bars."""
    return [axes for axes in fig.get_axes() if axes.get_xlabel()]


def _dashed(axes: Axes) -> list:
    return [line for line in axes.get_lines() if line.get_linestyle() == "--"]


def _fit_lines(axes: Axes) -> list:
    return [line for line in axes.get_lines() if line.get_linestyle() == "-" and len(line.get_xdata()) == 200]


@pytest.fixture(scope="module")
def paper_1(published: StudyFits) -> Figure:
    return figure_1(published)


@pytest.fixture(scope="module")
def paper_2(published: StudyFits) -> Figure:
    return figure_2(published)


@pytest.mark.parametrize(("panel", "study", "size"), [(0, "data-1d", "D"), (1, "parameter-1d", "N")])
def test_figure_1_shows_the_published_points_and_errors(paper_1: Figure, panel: int, study: str, size: str) -> None:
    losses = load_published()
    losses = losses[losses["study"] == study]
    drawn = points_of(_panels(paper_1)[panel])
    assert len(_panels(paper_1)) == 2
    assert len(drawn) == 3
    for (x, mean, std), (_, expected) in zip(drawn, losses.groupby("model"), strict=True):
        expected = expected.sort_values(size)
        np.testing.assert_array_equal(x, expected[size])
        np.testing.assert_array_equal(mean, expected["val_loss_mean"])
        np.testing.assert_allclose(std, expected["val_loss_std"], rtol=1e-9)


def test_figure_1_has_readable_ticks(paper_1: Figure) -> None:
    assert_readable(paper_1)
    data, parameters = _panels(paper_1)
    assert tick_texts(data.xaxis) == SIZES
    assert tick_texts(parameters.xaxis) == ["300k", "1M", "3M", "10M", "30M", "100M"]
    assert tick_texts(data.yaxis) == ["0.5", "0.6", "0.8", "1.0", "1.2", "1.6"]
    assert not len(data.xaxis.get_minorticklocs())


@pytest.mark.parametrize(("panel", "kind", "law"), [(0, "data", "broken"), (1, "parameters", "floor")])
def test_figure_1_draws_the_published_law(
    paper_1: Figure, published: StudyFits, panel: int, kind: str, law: str
) -> None:
    lines = _fit_lines(_panels(paper_1)[panel])
    chosen = one_series_a_network(published, kind)
    assert len(lines) == len(chosen) == 3
    for line, series in zip(lines, chosen.values(), strict=True):
        x = np.asarray(line.get_xdata())
        np.testing.assert_allclose(line.get_ydata(), series.fits[law].predict(x=x))
        assert x[0] == pytest.approx(series.points["x"].min())
        assert x[-1] == pytest.approx(series.points["x"].max())


def test_figure_1_draws_the_law_to_use_and_the_published_form_thin_where_it_is_another(demo: StudyFits) -> None:
    fig = figure_1(demo)
    for axes, kind, law in zip(_panels(fig), ("data", "parameters"), ("broken", "floor"), strict=True):
        for series, line in zip(one_series_a_network(demo, kind).values(), _fit_lines(axes), strict=True):
            x = np.asarray(line.get_xdata())
            np.testing.assert_allclose(line.get_ydata(), series.fits[series.best].predict(x=x))
            thin = [
                one for one in axes.get_lines() if one.get_linestyle() == "-." and one.get_color() == line.get_color()
            ]
            differs = series.best != law and series.fits[law].fitted
            assert len(thin) == differs
            for one in thin:
                np.testing.assert_allclose(one.get_ydata(), series.fits[law].predict(x=np.asarray(one.get_xdata())))
        named = {text.get_text() for text in axes.get_legend().get_texts()}
        has_thin = any(one.get_linestyle() == "-." for one in axes.get_lines())
        assert any(name.startswith("published form") for name in named) == has_thin


def test_figure_1_asymptotes_pass_the_outer_points(paper_1: Figure) -> None:
    data, parameters = _panels(paper_1)
    assert len(_dashed(data)) == 6
    assert not _dashed(parameters)
    for (x, mean, _), head, tail in zip(points_of(data), _dashed(data)[::2], _dashed(data)[1::2], strict=True):
        for line, places in ((head, slice(0, 3)), (tail, slice(-3, None))):
            at_points = np.interp(np.log(x[places]), np.log(line.get_xdata()), np.log(line.get_ydata()))
            np.testing.assert_allclose(np.exp(at_points), mean[places], rtol=0.03)
        # the break: steeper after it than before
        slopes = [np.polyfit(np.log(line.get_xdata()), np.log(line.get_ydata()), 1)[0] for line in (head, tail)]
        assert slopes[1] < slopes[0] < 0


def test_figure_1_legend_hides_no_point(paper_1: Figure) -> None:
    assert_readable(paper_1)
    for axes in _panels(paper_1):
        box = axes.get_legend().get_window_extent()
        for x, mean, _ in points_of(axes):
            inside = [box.contains(*point) for point in axes.transData.transform(np.column_stack([x, mean]))]
            assert not any(inside)


def test_overlay_has_open_markers_and_its_own_legend(published: StudyFits, demo: StudyFits) -> None:
    fig = figure_1(published, demo)
    assert_readable(fig)
    data, parameters = _panels(fig)
    assert [len(axes.containers) for axes in (data, parameters)] == [5, 4]
    faces = [container[0].get_markerfacecolor() for container in data.containers]
    assert faces[3:] == ["white", "white"]
    assert "white" not in faces[:3]
    ours, own = fig.legends
    assert [text.get_text() for text in ours.get_texts()] == ["OptiMetal2B-CGC", "OptiMetal2B-TC", "OptiMetal3B-TC"]
    assert [text.get_text() for text in own.get_texts()] == ["OptiMetal2B-TC", "OptiMetal3B-TC"]
    assert own.get_title().get_text() == "own runs"
    assert {"8", "128", "2.5k", "160k"} <= set(tick_texts(data.xaxis))


def test_figure_2_shows_all_49_points_of_each_network(paper_2: Figure) -> None:
    losses = load_published()
    panels = _panels(paper_2)
    assert len(panels) == 6
    assert_readable(paper_2)
    for row, model in enumerate(["OptiMetal2B-TC", "OptiMetal3B-TC"]):
        grid = losses[(losses["study"] == "grid-2d") & (losses["model"] == model)]
        for axes, size in zip(panels[3 * row :], ("N", "D"), strict=False):
            drawn = points_of(axes)
            assert len(drawn) == 7
            got = sorted((x, mean) for series in drawn for x, mean in zip(series[0], series[1], strict=True))
            assert got == sorted(zip(grid[size], grid["val_loss_mean"], strict=True))
        (points,) = [c for c in panels[3 * row + 2].collections if isinstance(c, PathCollection)]
        assert sorted(map(tuple, points.get_offsets())) == sorted(zip(grid["D"], grid["N"], strict=True))
        np.testing.assert_allclose(sorted(points.get_array()), sorted(grid["val_loss_mean"]))


def test_figure_2_map_is_the_kaplan_law_with_its_break(paper_2: Figure, published: StudyFits) -> None:
    maps = {series.model: series for series in published.series if series.kind == "map"}
    for axes, model in zip(_panels(paper_2)[2::3], ["OptiMetal2B-TC", "OptiMetal3B-TC"], strict=True):
        fit = maps[model].fits["kaplan"]
        (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
        D, N = np.moveaxis(mesh.get_coordinates(), -1, 0)
        np.testing.assert_allclose(np.ravel(mesh.get_array()), fit.predict(D=D.ravel(), N=N.ravel()))
        star = next(line for line in axes.get_lines() if line.get_marker() == "*")
        assert star.get_xdata()[0] == pytest.approx(fit.params["Dc"][0])


def test_figure_2_labels_the_colours_by_size(paper_2: Figure) -> None:
    bars = [axes for axes in paper_2.get_axes() if not axes.get_xlabel()]
    assert tick_texts(bars[0].yaxis) == SIZES
    assert tick_texts(bars[1].yaxis) == ["278k", "584k", "1.29M", "3.07M", "8.14M", "24.3M", "80.5M"]


def test_small_study_has_its_own_ticks(demo: StudyFits) -> None:
    fig = figure_1(demo)
    assert_readable(fig)
    data, parameters = _panels(fig)
    assert tick_texts(data.xaxis) == ["8", "16", "32", "64", "128"]
    assert tick_texts(parameters.xaxis) == ["278k", "584k", "1.29M"]
    assert [len(axes.containers) for axes in (data, parameters)] == [2, 1]
    both = figure_2(demo)
    assert_readable(both)
    assert len(_panels(both)) == 3
    assert len(points_of(_panels(both)[0])) == 5


def test_the_largest_network_and_the_largest_data_size_stand_for_a_grid(demo: StudyFits) -> None:
    assert one_series_a_network(demo, "data")["OptiMetal2B-TC"].fixed["width"] == 64
    assert one_series_a_network(demo, "parameters")["OptiMetal2B-TC"].fixed["D"] == 128


def test_a_study_without_widths_has_one_panel_and_no_map(tmp_path) -> None:
    fits = fit_study(average_seeds(demo_losses({"OptiMetal3B-TC": [16]}, [8, 16, 32])))
    fig = figure_1(fits)
    assert_readable(fig)
    assert len(_panels(fig)) == 1
    assert not _dashed(_panels(fig)[0])  # the first and the last three points are the same
    assert [path.name for path in study_figures(fits, tmp_path)] == ["figure_1.png", "figure_1.pdf"]
    with pytest.raises(UserError, match="add sizes"):
        figure_2(fits)


def test_a_study_with_one_data_size_has_only_the_parameter_panel() -> None:
    fig = figure_1(fit_study(average_seeds(demo_losses({"OptiMetal2B-TC": [16, 32, 64]}, [64]))))
    assert [axes.get_xlabel() for axes in _panels(fig)] == ["parameters $N$"]


def test_single_seeds_have_points_without_length_of_error(tmp_path) -> None:
    losses = demo_losses({"OptiMetal2B-TC": [16, 32, 64]}, [8, 16, 32, 64])
    fits = fit_study(average_seeds(losses[losses["seed"] == 1]))
    names = {path.name for path in draw_all(fits, None, tmp_path)}
    assert {"figure_1.png", "figure_1.pdf", "figure_2.png", "figure_2.pdf"} <= names
    assert all((std == 0).all() for _, _, std in points_of(_panels(figure_1(fits))[0]))


def test_a_small_study_draws_the_law_that_its_points_bear() -> None:
    losses = demo_losses({"OptiMetal2B-TC": [16]}, [8, 16, 32, 64, 128])
    losses["val_loss"] *= losses["D"].map({8: 1.01, 16: 0.99, 32: 1.0, 64: 1.01, 128: 0.99})
    fits = fit_study(average_seeds(losses))
    (series,) = fits.series
    assert series.best == "power"
    assert series.fits["broken"].aicc > series.fits["power"].aicc + 10
    axes = _panels(figure_1(fits))[0]
    (line,) = _fit_lines(axes)
    np.testing.assert_allclose(line.get_ydata(), series.fits["power"].predict(x=np.asarray(line.get_xdata())))
    assert axes.get_legend().get_texts()[0].get_text() == "power law"


def test_no_series_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="three or more"):
        figure_1(StudyFits())


def test_pyplot_knows_no_figure(paper_1: Figure, paper_2: Figure) -> None:
    from matplotlib import pyplot as plt

    assert plt.get_fignums() == []
    assert paper_1.canvas.manager is paper_2.canvas.manager is None
