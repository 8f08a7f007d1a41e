"""Periodic table of how often each element occurs in a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import matplotlib as mpl
import numpy as np
from ase.data import atomic_numbers
from ase.formula import Formula
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from optiscale.errors import UserError
from optiscale.figures.style import TWO_COLUMNS, log_ticks, new_figure, paper_style, short_number

_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)
_LANTHANIDES, _ACTINIDES = range(57, 72), range(89, 104)


def table_place(number: int, *, last_period: int = 7) -> tuple[int, float]:
    """Group (1 to 18) and row of an element; lanthanides and actinides have rows of their own below `last_period`."""
    if number in _LANTHANIDES:
        return number - 57 + 3, last_period + 1.4
    if number in _ACTINIDES:
        return number - 89 + 3, last_period + 2.4
    period = _period(number)
    position, length = number - _NOBLE[period - 1], _NOBLE[period] - _NOBLE[period - 1]
    s_groups = 1 if period == 1 else 2
    return (position if position <= s_groups else position + 18 - length), float(period)


def _period(number: int) -> int:
    return next(period for period in range(1, 8) if number <= _NOBLE[period])


def element_counts(formulas: Iterable[str]) -> dict[str, int]:
    """Count the materials that contain each element: symbol -> number of formulas."""
    return dict(Counter(symbol for formula in formulas for symbol in Formula(formula).count()))


def figure_elements(counts: Mapping[str, int], *, label: str = "materials") -> Figure:
    """Colour every element by its count (log scale) and write the count into its cell.

    Parameters
    ----------
    counts
        Symbol of an element -> number of materials that contain it; elements not named count as absent.
    label
        What is counted, for the colour bar.

    Raises
    ------
    UserError
        If no count is positive or a symbol is no element.
    """
    present = {symbol: int(count) for symbol, count in counts.items() if count > 0}
    unknown = [symbol for symbol in present if atomic_numbers.get(symbol, 0) < 1]
    if unknown:
        raise UserError(f"element table: {unknown[0]!r} is no chemical element; use symbols such as 'Al'")
    if not present:
        raise UserError("element table: no element has a count above 0; is the data set empty?")
    shown = _shown_numbers({atomic_numbers[symbol] for symbol in present})
    norm = LogNorm(min(present.values()), max(present.values()))
    symbols = {number: symbol for symbol, number in atomic_numbers.items()}
    with paper_style():
        last_period = max(_period(number) for number in shown)
        places = {number: table_place(number, last_period=last_period) for number in shown}
        last = max(row for _, row in places.values())
        fig = new_figure(width=TWO_COLUMNS, height=TWO_COLUMNS / 18.1 * (last + 0.1))
        axes = fig.subplots()
        for number, (group, row) in places.items():
            _draw_cell(axes, group, row, symbols[number], present.get(symbols[number], 0), norm)
        for period, text in ((6, "La–Lu"), (7, "Ac–Lr")):
            if period <= last_period:
                axes.text(3, period, text, ha="center", va="center", color="0.6", fontsize=5.5)
        axes.set(xlim=(0.45, 18.55), ylim=(last + 0.55, 0.45), aspect="equal")
        axes.axis("off")
        _count_bar(fig, axes, norm, label)
    return fig


def _shown_numbers(present: set[int]) -> list[int]:
    """Elements that get a cell: periods down to the lowest one needed; an f row only if it is not empty."""
    f_rows = [row for row in (_LANTHANIDES, _ACTINIDES) if present & set(row)]
    hidden = {number for row in (_LANTHANIDES, _ACTINIDES) if row not in f_rows for number in row}
    last = _NOBLE[max(_period(number) for number in present)]
    return [number for number in range(1, last + 1) if number not in hidden]


def _draw_cell(axes: Axes, group: int, row: float, symbol: str, count: int, norm: LogNorm) -> None:
    fill = mpl.colormaps["viridis"](np.asarray(norm(count)).item()) if count else (0.95, 0.95, 0.95, 1.0)
    # WCAG relative luminance without the gamma step: enough to choose between black and white.
    dark = 0.2126 * fill[0] + 0.7152 * fill[1] + 0.0722 * fill[2] < 0.5
    ink = "white" if dark else ("black" if count else "0.6")
    axes.add_patch(Rectangle((group - 0.47, row - 0.47), 0.94, 0.94, facecolor=fill, edgecolor="none"))
    axes.text(group, row - (0.14 if count else 0), symbol, ha="center", va="center", color=ink, fontsize=8)
    if count:
        axes.text(group, row + 0.26, short_number(count), ha="center", va="center", color=ink, fontsize=5.5)


def _count_bar(fig: Figure, axes: Axes, norm: LogNorm, label: str) -> None:
    """Draw a colour bar in the empty space above the transition metals; none if all counts are equal."""
    smallest, largest = float(norm.vmin or 1), float(norm.vmax or 1)
    if smallest == largest:
        return
    bottom, top = axes.get_ylim()
    row = 1 / (bottom - top)
    bar_axes = axes.inset_axes((0.24, 1 - 0.95 * row, 0.38, 0.28 * row))
    bar = fig.colorbar(ScalarMappable(norm, "viridis"), cax=bar_axes, orientation="horizontal")
    ticks = [tick for tick in log_ticks(smallest, largest) if tick == round(tick)]
    bar.ax.xaxis.set_major_locator(FixedLocator(ticks))
    bar.ax.xaxis.set_major_formatter(FixedFormatter([short_number(tick) for tick in ticks]))
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.set_label(label)
    bar.outline.set_visible(False)
