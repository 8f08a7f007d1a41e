"""The table of a measurement, and what the published grid would take."""

from __future__ import annotations

from typing import Any

from optiscale.bench.roofline import roofline_rate

#: of arXiv:2602.05702: data sizes, widths, seeds, epochs and validation materials of the 2D study
PUBLISHED_D = (2500, 5000, 10_000, 20_000, 40_000, 80_000, 160_000)
PUBLISHED_WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
PUBLISHED_SEEDS = 3
PUBLISHED_EPOCHS = 500
PUBLISHED_VALIDATION = 20_179


def markdown(result: dict[str, Any]) -> str:
    """Return a Markdown table of the rates (crystals a second)."""
    head = (
        "| network, width | plain, train | ours, train | ratio | plain, validation | ours, validation | ratio "
        "| MFLOP a crystal, whole | merged | MB a crystal | share of the roofline | first epoch, s |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *(_line(row, result) for row in result["rows"])])


def _line(row: dict[str, Any], result: dict[str, Any]) -> str:
    share = row["fast_train"] / roofline_rate(row, tflops=result["matrix_tflops"], tbytes=result["copy_tbytes"])
    mbyte = row["merged_products_mbyte"] + row["other_mbyte"]
    return (
        f"| {row['model']} {row['width']} | {row['plain_train']:,.0f} | {row['fast_train']:,.0f} "
        f"| {row['fast_train'] / row['plain_train']:.1f} | {row['plain_validation']:,.0f} "
        f"| {row['fast_validation']:,.0f} | {row['fast_validation'] / row['plain_validation']:.1f} "
        f"| {row['whole_mflop']:.1f} | {row['merged_mflop']:.1f} | {mbyte:.2f} | {100 * share:.0f} % "
        f"| {row['first_s']:.0f} |"
    )


def grid_hours(result: dict[str, Any], *, path: str) -> float | None:
    """Hours of the published 2D grid at these rates, on one device; None where a network or width is missing.

    Parameters
    ----------
    result
        Of `measure`; widths between two measured ones take the slower rate.
    path
        "fast" or "plain".
    """
    hours = 0.0
    for model in ("2B-TC", "3B-TC"):
        measured = {row["width"]: row for row in result["rows"] if row["model"] == model}
        for width in PUBLISHED_WIDTHS:
            wider = [known for known in measured if known >= width]
            if not wider:
                return None
            row = measured[min(wider)]
            trained = sum(PUBLISHED_D) / row[f"{path}_train"]
            validated = len(PUBLISHED_D) * PUBLISHED_VALIDATION / row[f"{path}_validation"]
            hours += PUBLISHED_SEEDS * PUBLISHED_EPOCHS * (trained + validated) / 3600
    return hours
