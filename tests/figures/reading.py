"""What the tests of the figures share: losses of a small study, and reading a figure back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

N_OF = {("OptiMetal2B-TC", 16): 278275, ("OptiMetal2B-TC", 32): 583779, ("OptiMetal2B-TC", 64): 1288483}
N_OF[("OptiMetal3B-TC", 16)] = 291827


def demo_losses(widths: dict[str, list[int]], sizes: list[int]) -> pd.DataFrame:
    """Losses of a small study, one row a run, two seeds that differ by 2 %."""
    rows = [
        {
            "study": "demo",
            "model": model,
            "D": D,
            "N": N_OF[model, width],
            "width": width,
            "seed": seed,
            "val_loss": 2.0 * (8 / D) ** 0.22 * (1 + 0.3 * (16 / width) ** 0.6) * (1 + 0.01 * sign),
        }
        for model, all_widths in widths.items()
        for width in all_widths
        for D in sizes
        for seed, sign in ((1, 1), (42, -1))
    ]
    return pd.DataFrame(rows)


def assert_readable(fig: Figure) -> None:
    """No two tick labels of an axis touch, and no text leaves the page."""
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    page = fig.bbox.padded(1)
    for axes in fig.get_axes():
        for axis in (axes.xaxis, axes.yaxis):
            boxes = [label.get_window_extent() for label in shown_labels(axis)]
            for first, second in pairwise(boxes):
                assert not first.overlaps(second), [label.get_text() for label in shown_labels(axis)]
            for box in boxes:
                assert page.containsx(box.x0), "a tick label leaves the page"
                assert page.containsx(box.x1), "a tick label leaves the page"
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
            if text.get_text():
                box = text.get_window_extent()
                assert page.containsx(box.x0), text.get_text()
                assert page.containsx(box.x1), text.get_text()
                assert page.containsy(box.y0), text.get_text()
                assert page.containsy(box.y1), text.get_text()


def shown_labels(axis: Axis) -> list:
    low, high = sorted(axis.get_view_interval())
    return [
        label
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)  # left or below, right or above
        if label.get_visible() and label.get_text() and low <= tick.get_loc() <= high
    ]


def tick_texts(axis: Axis) -> list[str]:
    return [label.get_text() for label in shown_labels(axis)]


def points_of(axes: Axes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(x, mean, std) of each error-bar series of a panel, read back from what is drawn."""
    found = []
    for container in axes.containers:
        line, _, (bars,) = container
        low, high = np.array(bars.get_segments())[:, :, 1].T
        found.append((np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float), (high - low) / 2))
    return found
