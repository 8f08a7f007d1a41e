"""Learning curves of the cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from optiscale.figures.style import short_number, size_colors
from optiscale.report.charts.base import Chart, figure, hex_of, listed, loss_axis, plain, stretched
from optiscale.report.study import Evidence

NEEDED = ("cell", "model", "D", "width", "epoch", "step", "train_loss", "val_loss")
_MOST_NUMBERS = 24_000
_MOST_OF_A_CURVE = 150
_FEWEST_OF_A_CURVE = 12


def learning_chart(evidence: Evidence) -> Chart | None:
    """Draw validation and training loss of every cell over the optimizer steps, a network and width at a time.

    Long curves are thinned, never by their lowest point, so that a study of any size makes a page that opens.
    """
    curves = evidence.curves
    if curves is None or any(name not in curves for name in NEEDED) or not np.isfinite(curves["val_loss"]).any():
        return None
    n_cells = curves["cell"].nunique()
    most = int(np.clip(_MOST_NUMBERS // (2 * n_cells), _FEWEST_OF_A_CURVE, _MOST_OF_A_CURVE))
    return Chart(
        key="learning",
        title="Learning curves",
        alt="Validation loss, and faint the training loss, of every cell over the optimizer steps, coloured by data "
        "size D. The lowest value of each curve is its L_val, in the table of runs.",
        variants=[_panel(part, most) for part in panels(curves).values()],
        group="learning",
        switches=(("x", "log steps"), ("y", "log loss")),
    )


def panels(curves: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Curves by network and width."""
    widths = curves["width"].fillna(0).astype(int)
    keys = sorted(set(zip(curves["model"].astype(str), widths, strict=True)))
    return {
        model if width == 0 else f"{model}, width {width}": curves[
            (curves["model"].astype(str) == model) & (widths == width)
        ]
        for model, width in keys
    }


def _panel(curves: pd.DataFrame, most: int) -> dict[str, Any]:
    colors = size_colors(curves["D"])
    traces, held, steps, known = [], [], [], set()
    for size, cell in sorted(set(zip(curves["D"], curves["cell"].astype(str), strict=True))):
        rows = curves[(curves["D"] == size) & (curves["cell"].astype(str) == cell)].sort_values("step")
        shade = hex_of(colors[size])
        for column, faint in (("train_loss", True), ("val_loss", False)):
            measured = rows[np.isfinite(rows[column]) & (rows[column] > 0)]
            if measured.empty:
                continue
            kept = thinned(measured[column].to_numpy(dtype=float), most)
            x, y = measured["step"].to_numpy()[kept], measured[column].to_numpy()[kept]
            steps += [float(x.min()), float(x.max())]
            held += [] if faint else [float(y.min()), float(y.max())]
            group = f"D = {short_number(size)}"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": listed(x),
                    "y": listed(y),
                    "name": group,
                    "legendgroup": group,
                    "showlegend": not faint and group not in known,
                    "line": {"color": shade, "width": 1 if faint else 1.6},
                    "opacity": 0.4 if faint else 1.0,
                    "meta": [plain(f"{cell}, {'training' if faint else 'validation'}")],
                    "hovertemplate": "%{meta[0]}<br>loss %{y:.4g}<br>step %{x}<extra></extra>",
                }
            )
            known |= set() if faint else {group}
    layout = {
        "xaxis": {"type": "linear", "title": {"text": "optimizer step"}},
        "yaxis": loss_axis(held, title="loss"),
    }
    return figure(traces, layout, x=(min(steps), max(steps)), y=stretched(held))


def thinned(values: np.ndarray, most: int) -> np.ndarray:
    """Return indices of at most `most` values, evenly spread, with the first, the last and the lowest among them."""
    if len(values) <= most:
        return np.arange(len(values))
    even = np.round(np.linspace(0, len(values) - 1, most - 1)).astype(int)
    return np.unique(np.append(even, int(np.argmin(values))))
