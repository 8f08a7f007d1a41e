"""What a data set holds: sizes of cells, elements a material, symmetry, targets, volumes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from ase.formula import Formula
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from optiscale.errors import UserError
from optiscale.figures.style import BLUE, TWO_COLUMNS, new_figure, panel_label, paper_style, short_number

_MOST_BARS = 12


def element_numbers(formulas: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of different elements of each formula, (M,)."""
    unique, place = np.unique(np.asarray(formulas, dtype=str), return_inverse=True)
    return np.array([len(Formula(formula).count()) for formula in unique])[place]


def space_group_text(number: int) -> str:
    """Write a space group with its symbol (mathtext), such as Fm-3m 225 with a bar over the 3."""
    from pymatgen.symmetry.groups import sg_symbol_from_int_number

    screws = re.sub(r"_(\d)", r"$_{\1}$", sg_symbol_from_int_number(number))
    symbol = re.sub(r"-(\d)", r"$\\overline{\1}$", screws)
    return f"{symbol} {number}"


def figure_dataset(
    materials: pd.DataFrame, volume_per_atom: NDArray[np.floating], *, scalars: dict[str, str]
) -> Figure:
    """Draw histograms of a data set: sites a cell, elements, space groups, prototypes, scalar targets, volume an atom.

    Parameters
    ----------
    materials
        A row a material, with `n_sites`, `reduced_formula`, `space_group`, `prototype` and the scalar targets.
    volume_per_atom
        (M,), Å^3.
    scalars
        Scalar targets to show, name -> unit.

    Raises
    ------
    UserError
        If there is no material.
    """
    if materials.empty:
        raise UserError("data set figure: no material to show; build the data set first")
    panels: list[Callable[[Axes], None]] = [
        lambda axes: _whole_numbers(axes, materials["n_sites"].to_numpy(), "sites a cell"),
        lambda axes: _whole_numbers(
            axes, element_numbers(materials["reduced_formula"].tolist()), "elements a material"
        ),
        lambda axes: _continuous(axes, volume_per_atom, "volume an atom (Å$^3$)"),
    ]
    panels += [
        partial(_continuous, values=materials[name].to_numpy(), label=_label(name, unit))
        for name, unit in scalars.items()
    ]
    groups = materials["space_group"].dropna().astype(int)
    if len(groups):
        panels.append(partial(_names, counts=groups.value_counts(), text=space_group_text, label="space group"))
    prototypes = materials["prototype"].dropna()
    if len(prototypes):
        panels.append(partial(_names, counts=prototypes.value_counts(), text=_prototype_text, label="structure type"))
    with paper_style():
        rows = -(-len(panels) // 3)
        fig = new_figure(width=TWO_COLUMNS, height=2.2 * rows)
        grid = np.ravel(fig.subplots(rows, 3))
        for index, (axes, draw) in enumerate(zip(grid, panels, strict=False)):
            draw(axes)
            panel_label(axes, index)
        for axes in grid[len(panels) :]:
            axes.remove()
    return fig


def _label(name: str, unit: str) -> str:
    text = r"$\omega_D$" if name == "omega_D" else name.replace("_", " ")
    return f"{text} ({unit})" if unit not in ("", "1") else text


def _prototype_text(name: str) -> str:
    return re.sub(r"_([0-9a-z]+)", r"$_{\1}$", name)


def _whole_numbers(axes: Axes, values: NDArray[np.integer], label: str) -> None:
    """Draw a bar a whole number, its count above it."""
    numbers, counts = np.unique(values, return_counts=True)
    axes.bar(numbers, counts, width=0.8, color=BLUE)
    if len(numbers) <= _MOST_BARS:
        for number, count in zip(numbers, counts, strict=True):
            text = short_number(float(f"{count:.2g}")) if count >= 1000 else str(count)  # three digits would touch
            axes.annotate(text, (number, count), (0, 1.5), textcoords="offset points", ha="center", fontsize=5.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12, min_n_ticks=1))
    axes.set(xlabel=label, xlim=(numbers.min() - 0.7, numbers.max() + 0.7))
    axes.margins(y=0.1)
    _counts(axes)


def _continuous(axes: Axes, values: NDArray[np.floating], label: str) -> None:
    finite = values[np.isfinite(values)].astype(float)
    axes.hist(finite, bins=int(np.clip(2 * len(finite) ** (1 / 3), 8, 60)), color=BLUE)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.set(xlabel=label)
    _counts(axes)


def _names(axes: Axes, counts: pd.Series, text: Callable[[Any], str], label: str) -> None:
    """Draw the most frequent names as lying bars, and say how many more there are."""
    shown = counts.head(_MOST_BARS)[::-1]
    axes.barh(range(len(shown)), shown, height=0.8, color=BLUE)
    axes.set_yticks(range(len(shown)), [text(name) for name in shown.index], fontsize=5.5)
    for place, count in enumerate(shown):
        axes.annotate(
            short_number(count), (count, place), (2, 0), textcoords="offset points", va="center", fontsize=5.5
        )
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.2, y=0.02)
    more = len(counts) - len(shown)
    if more:  # the shortest bars are at the bottom and leave room
        axes.text(0.97, 0.03, f"and {more} more", transform=axes.transAxes, ha="right", va="bottom", fontsize=6)
    axes.set(xlabel="materials", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def _counts(axes: Axes) -> None:
    axes.set_ylabel("materials")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
