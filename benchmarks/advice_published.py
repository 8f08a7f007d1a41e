"""What the published losses say about runs that nobody made.

``python benchmarks/advice_published.py`` writes ``benchmarks/results/advice_published.json`` and the picture
``docs/advice/frontier.png``: the loss at twice the published data, what 10,000 more materials buy, what reaches a loss
of 0.4, and the frontier of both published grids, counted in 6 N D E with the 500 epochs of the publication.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from optiscale.advice import counted_cost, forecast, frame_of, frontier, grids_of, ladder_of
from optiscale.figures.advice import draw_frontier
from optiscale.io import write_json
from optiscale.laws import average_seeds, load_published

RESULT = Path(__file__).parent / "results" / "advice_published.json"
PICTURE = Path(__file__).parents[1] / "docs" / "advice"
FAR, TARGET, EPOCHS = 320_000, 0.4, 500
DRAWN = "OptiMetal2B-TC"


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as JSON values, None where there is no number."""
    return [
        {str(k): v for k, v in row.items()}
        for row in frame.astype(object).where(frame.notna(), None).to_dict("records")
    ]


def main() -> None:
    """Ask, write, draw."""
    averages = average_seeds(load_published())
    lines = forecast(averages[averages["study"] == "data-1d"], D=[FAR], target=TARGET)
    grids = forecast(averages[averages["study"] == "grid-2d"], D=[FAR], target=TARGET)
    result: dict[str, Any] = {"epochs": EPOCHS, "frontier": {}}
    for name, found in (("lines", lines), ("grids", grids)):
        result[name] = {
            "losses": rows_of(frame_of(found.losses)),
            "targets": rows_of(frame_of(found.targets)),
            "gains": rows_of(frame_of(found.gains)),
        }
    cost = counted_cost(EPOCHS)
    for series in grids_of(averages[averages["study"] == "grid-2d"]):
        best = frontier(series, cost, ladder_of(series, cost))
        growth = {size: list(ends) for size, ends in best.growth.items()}
        result["frontier"][series.model] = {"law": best.law, "growth": growth, "points": rows_of(best.frame())}
        if series.model == DRAWN:
            draw_frontier(best, PICTURE, "frontier")
    write_json(RESULT, result)
    print(f"{RESULT}, {PICTURE / 'frontier.png'}")


if __name__ == "__main__":
    main()
