"""One look for every figure: colours, markers, sizes, readable log ticks, reproducible files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from optiscale.io import atomic_save

ONE_COLUMN = 3.4
"""Width of one journal column, inches."""
TWO_COLUMNS = 7.0
"""Width of two journal columns, inches."""

# M. Okabe and K. Ito, "Color Universal Design" (2008): eight colours told apart with any colour vision.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#666666"

_RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.titlesize": 8,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
    "font.size": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.title_fontsize": 7,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,  # text stays text, as journals ask
    "savefig.dpi": 300,
    "text.usetex": False,
    "xtick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True)
class NetworkStyle:
    """Colour and marker by which a network is known in every figure."""

    color: str
    marker: str


NETWORKS = {
    "OptiMetal2B-CGC": NetworkStyle(BLUE, "o"),
    "OptiMetal2B-TC": NetworkStyle(VERMILLION, "s"),
    "OptiMetal3B-TC": NetworkStyle(GREEN, "^"),
    "OptiMetal3B-CGC": NetworkStyle(PURPLE, "v"),
    "OptiMate": NetworkStyle(ORANGE, "D"),
}
_SPARE = [NetworkStyle(SKY, "P"), NetworkStyle(BLACK, "X"), NetworkStyle(GREY, "h"), NetworkStyle(YELLOW, "p")]


def network_styles(names: Iterable[str]) -> dict[str, NetworkStyle]:
    """Style of each network, our networks first; a user's own take the spare styles in alphabetical order."""
    unique = dict.fromkeys(names)
    own = sorted(name for name in unique if name not in NETWORKS)
    spare = {name: _SPARE[i % len(_SPARE)] for i, name in enumerate(own)}
    known = {name: NETWORKS[name] for name in NETWORKS if name in unique}
    return known | spare


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw inside this block with the settings of the figures; the caller's settings return afterwards."""
    with mpl.rc_context(_RC):
        yield


def new_figure(*, width: float, height: float) -> Figure:
    """Make an empty figure of `width` x `height` inches that pyplot does not know, so that nobody must close it."""
    return Figure(figsize=(width, height), layout="constrained")


def panel_label(axes: Axes, index: int) -> None:
    """Letter a panel (a), (b), … above its upper left corner."""
    axes.set_title(f"({chr(ord('a') + index)})", loc="left", fontweight="bold")


def short_number(value: float) -> str:
    """Write a size with three digits and a suffix: 128, 2.5k, 160k, 8.14M, 1.2G.

    Parameters
    ----------
    value
        A data size D or a parameter count N.
    """
    rounded = float(f"{value:.3g}")
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rounded >= factor:
            return f"{rounded / factor:g}{suffix}"
    return f"{rounded:g}"


_LADDERS: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8),
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9),
)


def log_ticks(low: float, high: float, *, at_least: int = 4) -> list[float]:
    """Round values in [low, high], from the coarsest ladder that has `at_least` of them there.

    The ladders are 1; 1, 3; 1, 2, 5; and finer ones; a range too narrow for any gets evenly spaced values.
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for ladder in _LADDERS:
        ticks = [float(f"{step * 10.0**decade:.6g}") for decade in decades for step in ladder]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= at_least:
            return inside
    even = MaxNLocator(nbins=at_least + 1, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in even if low <= tick <= high]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Write ticks alike: losses with the same number of decimals (0.8, 1.0), sizes as :func:`short_number` does."""
    if not ticks or max(ticks) >= 10 or all(tick == round(tick) for tick in ticks):
        return [short_number(tick) for tick in ticks]
    decimals = max(len(f"{tick:g}".partition(".")[2]) for tick in ticks)
    return [f"{tick:.{decimals}f}" for tick in ticks]


def spread(values: Sequence[float], *, low: float, high: float, most: int) -> list[float]:
    """Those of `values`, from the largest down, that leave at least 1 / `most` of a log axis between neighbours."""
    gap = np.log(high / low) / most
    kept: list[float] = []
    for value in sorted(values, reverse=True):
        if not kept or np.log(kept[-1] / value) >= gap:
            kept.append(value)
    return kept[::-1]


def log_axis(
    axes: Axes,
    which: Literal["x", "y"],
    *,
    values: ArrayLike,
    at: ArrayLike | None = None,
    margin: float = 0.06,
    at_least: int = 4,
    most: int | None = None,
) -> None:
    """Make an axis logarithmic around `values`, with ticks that read 2.5k, 160k, 3M or 0.8 and no unlabelled clutter.

    Parameters
    ----------
    axes, which
        The panel, and its ``"x"`` or ``"y"`` axis.
    values
        What the axis must hold; positive.
    at
        Where the ticks are (the measured sizes, for D); round values if not given. Where labels would touch, a tick
        keeps its mark and loses its label.
    margin
        Room left at either end, as a part of the length in log space.
    at_least
        How many round ticks are wanted.
    most
        How many labels the axis has room for; by default 8 along x and 14 along y.
    """
    held = np.asarray(values, dtype=float)
    smallest, largest = float(held.min()), float(held.max())
    stretch = (largest / smallest) ** margin if largest > smallest else 1.5
    low, high = smallest / stretch, largest * stretch
    places = sorted({float(v) for v in np.ravel(at)}) if at is not None else log_ticks(low, high, at_least=at_least)
    labelled = set(spread(places, low=low, high=high, most=most or (8 if which == "x" else 14)))
    text = [words if place in labelled else "" for place, words in zip(places, tick_labels(places), strict=True)]
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    if which == "x":
        axes.set_xscale("log")
        axes.set_xlim(low, high)
    else:
        axes.set_yscale("log")
        axes.set_ylim(low, high)
    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FixedFormatter(text))
    axis.set_minor_locator(NullLocator())


def size_colors(values: Iterable[float]) -> dict[float, tuple[float, float, float, float]]:
    """One colour a size, dark for small to light for large (viridis without its pale end)."""
    sizes = sorted(set(values))
    cmap = mpl.colormaps["viridis"]
    places = np.linspace(0.0, 0.88, len(sizes)) if len(sizes) > 1 else [0.4]
    return {size: cmap(float(place)) for size, place in zip(sizes, places, strict=True)}


def stepped_colors(values: Iterable[float]) -> tuple[Colormap, BoundaryNorm, list[float]]:
    """Colormap, norm and sizes of a colour bar with one even step a size; step i covers [i - 1/2, i + 1/2]."""
    colors = size_colors(values)
    norm = BoundaryNorm(np.arange(len(colors) + 1) - 0.5, len(colors))
    return ListedColormap(list(colors.values())), norm, list(colors)


def save_figure(fig: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``<name>.png`` and ``<name>.pdf`` atomically; the same figure gives the same bytes.

    Returns
    -------
    list of Path
        The PNG and the PDF.
    """
    folder = Path(folder)
    png, pdf = folder / f"{name}.png", folder / f"{name}.pdf"
    with paper_style():
        atomic_save(png, lambda stream: fig.savefig(stream, format="png", metadata={"Software": None}))
        atomic_save(pdf, lambda stream: fig.savefig(stream, format="pdf", metadata={"CreationDate": None}))
    return [png, pdf]
