"""What every figure of the page shares: its frame, its axes, its colours, and numbers that JSON can hold."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from optiscale.figures.style import NetworkStyle, log_ticks, short_number, spread, tick_labels

Axis = Literal["x", "y"]
Switches = Sequence[tuple[Axis, str]]

_DIGITS = 5
_MARGIN = 0.06
_MOST_SIZE_LABELS = 9
SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "v": "triangle-down",
    "D": "diamond",
    "P": "cross",
    "X": "x",
    "h": "hexagon",
    "p": "pentagon",
}
"""Marker of plotly for each of matplotlib's in :mod:`optiscale.figures.style`."""
LEVEL = 0.9
"""Of every band and interval of the page."""
GREY = "#7f7f7f"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """An interactive figure.

    Attributes
    ----------
    key
        Identifier in the page.
    title
        Heading.
    alt
        What it shows, for those who do not see it.
    variants
        A plotly figure for each choice of its group, None where there is nothing to show; one if it has no group.
    empty
        What to say in place of a figure that is None.
    group
        Name of the list of choices that it follows; empty for none.
    switches
        Axes that the reader may switch between logarithmic and linear, with the words for each.
    """

    key: str
    title: str
    alt: str
    variants: Sequence[dict[str, Any] | None]
    empty: str = ""
    group: str = ""
    switches: Switches = ()


def listed(values: ArrayLike) -> list[float | None]:
    """Numbers with five digits, None where there is none: what JSON can hold, in little space."""
    array = np.atleast_1d(np.asarray(values, dtype=float))
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in array]


def plain(text: object) -> str:
    """Text for a figure, in which plotly would take < for the start of markup."""
    return html.escape(str(text), quote=False)


def band(low: ArrayLike, high: ArrayLike, x: ArrayLike, *, color: str, alpha: float, **rest: Any) -> dict[str, Any]:
    """Trace that fills between two curves."""
    x, low, high = (np.asarray(one, dtype=float) for one in (x, low, high))
    return {
        "type": "scatter",
        "x": listed(np.concatenate([x, x[::-1]])),
        "y": listed(np.concatenate([low, high[::-1]])),
        "mode": "lines",
        "fill": "toself",
        "fillcolor": rgba(color, alpha),
        "line": {"width": 0, "color": color},
        "hoverinfo": "skip",
        **rest,
    }


def rgba(color: str, alpha: float) -> str:
    """Write a colour ``#rrggbb`` with an opacity."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def hex_of(color: Sequence[float]) -> str:
    """Write a colour of matplotlib, parts from 0 to 1, as ``#rrggbb``."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in color[:3])


def symbol(style: NetworkStyle) -> str:
    """Name the marker of a network as plotly does."""
    return SYMBOLS[style.marker]


def size_axis(name: str, values: Iterable[float], *, at: Iterable[float] | None = None) -> dict[str, Any]:
    """Logarithmic axis of a size, with ticks at the measured ones as far as they have room, else at round numbers."""
    held = sorted(set(values))
    low, high = stretched(held)
    measured = sorted(set(at)) if at is not None else held
    ticks = spread(measured, low=low, high=high, most=_MOST_SIZE_LABELS)
    if len(measured) < 2:
        ticks = log_ticks(low, high)
    text = [short_number(tick) for tick in ticks]
    title = {"D": "data size D", "N": "parameters N"}.get(name, name)
    return {"type": "log", "title": {"text": title}, "tickmode": "array", "tickvals": ticks, "ticktext": text}


def loss_axis(values: Iterable[float], *, title: str = "validation loss L<sub>val</sub>") -> dict[str, Any]:
    """Logarithmic axis of a loss, with round numbers."""
    low, high = stretched(values)
    ticks = log_ticks(low, high, at_least=5)
    return {
        "type": "log",
        "title": {"text": title},
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": tick_labels(ticks),
    }


def stretched(values: Iterable[float], margin: float = _MARGIN) -> tuple[float, float]:
    """Return the ends of an axis that holds positive values with a little room."""
    array = np.array([value for value in values if np.isfinite(value) and value > 0])
    low, high = float(array.min()), float(array.max())
    factor = (high / low) ** margin if high > low * (1.0 + 1e-9) else 1.3
    return low / factor, high * factor


def figure(traces: Sequence[dict[str, Any]], layout: dict[str, Any], **ends: tuple[float, float]) -> dict[str, Any]:
    """Check a figure with plotly's own schema.

    Parameters
    ----------
    traces, layout
        As plotly takes them; fonts, colours and margins are set by the page, for the theme and the width of the window.
    **ends
        Ends of an axis by its letter, in its own units: the page sets the range for the scale chosen.

    Returns
    -------
    dict
        JSON value.
    """
    import plotly.graph_objects as go

    made = go.Figure(data=list(traces), layout={"template": go.layout.Template(), **layout})
    made.layout.meta = {"ends": {axis: listed(pair) for axis, pair in ends.items()}}
    value: dict[str, Any] = made.to_plotly_json()
    value["layout"].pop("template", None)
    return value
