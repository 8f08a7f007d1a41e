"""Put the results of the benchmarks of the laws into docs/laws.md, between its markers.

``python benchmarks/laws_docs.py`` rewrites what lies between ``<!-- laws_…: begin -->`` and ``<!-- laws_…: end -->``;
a test keeps the page up to date with the result files.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optiscale.io import atomic_write, read_json
from optiscale.laws import LAWS

PAGE = Path(__file__).parents[1] / "docs" / "laws.md"
RESULTS = Path(__file__).parent / "results"
_SHOWN_MAPS = ("kaplan", "coupled_broken", "coupled_drift")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [columns, ["---"] * len(columns), *rows])


def size(value: float | None) -> str:
    """Write a size in thousands."""
    return "open" if value is None else f"{value / 1000:.1f}k"


def published_maps(result: dict[str, Any]) -> str:
    """Every law of N and D on the two published grids."""
    rows = []
    for model, found in result["maps"].items():
        rows += [
            [
                model.removeprefix("OptiMetal"),
                LAWS[row["law"]].label,
                str(row["k"]),
                f"{row['redchi']:.2f}",
                f"({row['redchi_as_if_sigma_of_a_run']:.2f})",
                f"{row['aicc_unweighted_residuals']:.1f}",
                f"{row['left_out_cell']['per_cent']:.2f}",
                f"{100 * row['rolling_origin']:.2f}",
            ]
            for row in found["laws"]
        ]
        rows.append(
            [model.removeprefix("OptiMetal"), "last value", "", "", "", "", "", f"{100 * found['last_value']:.2f}"]
        )
    columns = ["network", "law", "k", "chi²/dof", "(σ of a run)", "AICc", "left-out cell, %", "rolling origin, %"]
    return table(columns, rows)


def published_intervals(result: dict[str, Any]) -> str:
    """Profile intervals of the break, the coupling and the drift."""
    rows = []
    for model, found in result["maps"].items():
        for row in found["laws"]:
            if row["law"] in _SHOWN_MAPS:
                own = row["intervals"]
                place = own["log10_Dc"]
                lengths = [size(10 ** place[end]) for end in ("low", "value", "high")]
                cells = [_interval(own.get(name)) for name in ("a1", "a2", "g", "d")]
                label = LAWS[row["law"]].label
                rows.append(
                    [model.removeprefix("OptiMetal"), label, f"{lengths[1]} [{lengths[0]}, {lengths[2]}]", *cells]
                )
    return table(["network", "law", "D_c", "a1", "a2", "g", "d"], rows)


def _interval(one: dict[str, float] | None) -> str:
    return "" if one is None else f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def published_edges(result: dict[str, Any]) -> str:
    """Errors and coverage at held-out edges of the grid."""
    rows = []
    for model, found in result["maps"].items():
        sources = [row["edges"] for row in found["laws"] if row["law"] in _SHOWN_MAPS] + [found["edges_ensemble"]]
        for edges in sources:
            name = edges[0]["law"]
            label = LAWS[name].label if name in LAWS else "ensemble"
            errors = [f"{edge['per_cent']:.1f} ± {edge['half_width_per_cent']:.1f}" for edge in edges]
            cells = [7, 7, 14, 14]
            covered = sum(edge["coverage"] * n for edge, n in zip(edges, cells, strict=True)) / sum(cells)
            rows.append([model.removeprefix("OptiMetal"), label, *errors, f"{100 * covered:.0f} %"])
    columns = [
        "network",
        "law",
        "largest D",
        "largest N",
        "two largest D",
        "two largest N",
        "cells in the 90 % interval",
    ]
    return table(columns, rows)


def published_breaks(result: dict[str, Any]) -> str:
    """List what the one-dimensional studies say about a break, by the form of it."""
    rows = []
    for study in ("data-1d", "parameter-1d"):
        for row in result["lines"][study]:
            place = row["position"]
            delta = row["delta_aicc"]
            rows.append(
                [
                    "D" if study == "data-1d" else "N",
                    row["model"].removeprefix("OptiMetal"),
                    LAWS[row["broken"]].label,
                    f"{row['redchi']:.2f}",
                    f"{row['p_value']:.3f}",
                    "" if delta is None else f"{delta:+.1f}",
                    f"{size(place['value'])} [{size(place['low'])}, {size(place['high'])}]",
                    row["verdict"],
                ]
            )
    columns = ["over", "network", "form of the break", "chi²/dof", "p", "AICc gained", "break, 90 %", "verdict"]
    return table(columns, rows)


def published_weights(result: dict[str, Any]) -> str:
    """Held-out errors by weights and kind of residuals."""
    laws = ("broken", "broken_amplitude", "kaplan", "coupled_broken")
    rows = [
        [row["weights"], row["residuals"], *(f"{100 * row[law]:.2f}" for law in laws)]
        for row in result["weights_evidence"]
    ]
    return table(["weights", "residuals", *(LAWS[law].label for law in laws)], rows)


def published_noise(result: dict[str, Any]) -> str:
    """Leave-one-out deviance of the seeds' variance."""
    ways = ("pooled", "pooled-absolute", "by-scale")
    rows = []
    for model, found in result["maps"].items():
        lowest = min(found["noise_evidence"].values())
        cells = [f"{found['noise_evidence'][way] - lowest:.3f}" for way in ways]
        scale = f"{100 * found['noise']['scale']:.2f} % of the loss"
        rows.append([model.removeprefix("OptiMetal"), scale, *cells])
    return table(["network", "a run scatters by", *ways], rows)


def published_failed(result: dict[str, Any]) -> str:
    """Describe the published fit whose optimiser failed."""
    one = result["failed_fit"]
    return (
        f"Its optimiser slid to x0 -> 0, a = {one['stalled_a']:.5f}, where the law is a constant: chi-square "
        f"{one['stalled_chi2']:.0f}, AICc {one['stalled_aicc']:.2f}. The minimum is at x0 = {one['x0']:.2g}, "
        f"a = {one['a']:.4f}: chi-square {one['chi2']:.0f}, AICc {one['aicc']:.2f}."
    )


def published_speed(result: dict[str, Any]) -> str:
    """How long whole studies took."""
    return (
        f"The 1D studies (three networks, six series, every law, break tests, 1,000 bootstraps a law) take "
        f"{result['seconds_1d_study']:.0f} s of one core, the 2D study (28 lines and two maps, the maps bootstrapped "
        f"1,000 times a law) {result['seconds_2d_study']:.0f} s."
    )


def extrapolation(result: dict[str, Any]) -> str:
    """Mean RMSLE by law and rule, a column a set."""
    groups = [
        "language",
        "language NMT",
        "language LM",
        "language BB",
        "materials mace",
        "materials nequip",
        "isoflops",
    ]
    summary = result["summary"]
    names = list(dict.fromkeys(name for group in groups for name in summary[group]))
    plain = [name for name in names if "coverage" not in name and "half" not in name]
    rows = [[_law_label(name), *(_cell(summary[group].get(name), 4) for group in groups)] for name in plain]
    rows += [
        [f"90 % interval, {name}", *(_cell(summary[group].get(name), 2) for group in groups)]
        for name in ("ensemble, coverage", "law to use, coverage")
    ]
    objective = ", ".join(f"{LAWS[law].label} {value:.6f}" for law, value in result["chinchilla_objective"].items())
    note = f"Chinchilla points, sum of Huber(1e-3) of the log residuals: {objective}."
    return f"{table(['law or rule', *groups], rows)}\n\n{note}"


def _law_label(name: str) -> str:
    return LAWS[name].label if name in LAWS else name


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def coverage(result: dict[str, Any]) -> str:
    """Coverage of the parameter intervals by law, over all noises, and of the forecasts."""
    rows = []
    for law in dict.fromkeys(row["law"] for row in result["truths"]):
        own = [row for row in result["truths"] if row["law"] == law]
        ahead = [row for row in result["forecasts"] if row["law"] == law]
        bias = max(abs(value) for row in own for value in row["bias_over_error"].values())
        cells = [
            f"{100 * sum(row[key] for row in own) / len(own):.0f}" for key in ("covariance", "profile", "bootstrap")
        ]
        far = [
            f"{100 * sum(row[key] for row in ahead) / len(ahead):.0f}" if ahead else ""
            for key in ("coverage_law", "coverage_chosen", "coverage_ensemble")
        ]
        rows.append([LAWS[law].label, f"{bias:.2f}", *cells, *far])
    mean, far_mean = result["mean"], result["mean_forecast"]
    rows.append(
        [
            "mean",
            "",
            *(f"{100 * mean[key]:.0f}" for key in ("covariance", "profile", "bootstrap")),
            *(f"{100 * far_mean[key]:.0f}" for key in ("coverage_law", "coverage_chosen", "coverage_ensemble")),
        ]
    )
    columns = [
        "law",
        "largest bias / error",
        "covariance, %",
        "profile, %",
        "bootstrap, %",
        "forecast, law, %",
        "forecast, law chosen, %",
        "forecast, ensemble, %",
    ]
    return table(columns, rows)


def priors(result: dict[str, Any]) -> str:
    """Mean RMSLE of the laws whose extrapolation the weak priors change, without them and with them."""
    groups = ["language", "materials mace", "materials nequip", "isoflops"]
    without = result["1d"]["without_priors"] | result["2d"]["without_priors"]
    rows = []
    for name in [*result["1d"]["laws"], *result["2d"]["laws"]]:
        pairs = [(without[group].get(name), result["summary"][group].get(name)) for group in groups]
        if any(a is not None and b is not None and abs(a - b) > 0.02 * a for a, b in pairs):
            cells = ["" if a is None or b is None else f"{a:.4f} → {b:.4f}" for a, b in pairs]
            rows.append([LAWS[name].label, *cells])
    return table(["law", *groups], rows)


def variants(result: dict[str, Any]) -> str:
    """Mean RMSLE of the ensemble and of the law to use without parts of the procedure, and under other fits."""
    groups = ["language", "materials mace", "materials nequip", "isoflops"]
    described = {
        group: {"ensemble": means["ensemble"], "pick": means["law to use"]}
        for group, means in result["summary"].items()
    }
    found = {"as described": described}
    found |= {name: one | result["2d"]["variants"][name] for name, one in result["1d"]["variants"].items()}
    rows = [[name, *(_both(one[group]) for group in groups)] for name, one in found.items()]
    return table(["fit", *groups], rows)


def _both(means: Mapping[str, float]) -> str:
    """Error of the ensemble / of the law to use."""
    return " / ".join(f"{means[rule]:.4f}" if rule in means else "–" for rule in ("ensemble", "pick"))


BLOCKS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "maps": ("laws_published", published_maps),
    "intervals": ("laws_published", published_intervals),
    "edges": ("laws_published", published_edges),
    "breaks": ("laws_published", published_breaks),
    "weights": ("laws_published", published_weights),
    "noise": ("laws_published", published_noise),
    "failed": ("laws_published", published_failed),
    "speed": ("laws_published", published_speed),
    "extrapolation": ("laws_extrapolation", extrapolation),
    "priors": ("laws_extrapolation", priors),
    "variants": ("laws_extrapolation", variants),
    "coverage": ("laws_coverage", coverage),
}


def render(page: str) -> str:
    """Fill every block of the page from the result files."""
    for name, (source, write) in BLOCKS.items():
        begin, end = f"<!-- laws_{name}: begin -->", f"<!-- laws_{name}: end -->"
        text = f"{begin}\n{write(read_json(RESULTS / f'{source}.json'))}\n{end}"
        page, found = re.subn(
            re.escape(begin) + ".*?" + re.escape(end), lambda _, text=text: text, page, flags=re.DOTALL
        )
        if found != 1:
            raise ValueError(f"{PAGE}: needs the block {name} once, has it {found} times")
    return page


def main(arguments: Sequence[str]) -> None:
    """Rewrite the page, or the one given."""
    path = Path(arguments[0]) if arguments else PAGE
    text = render(PAGE.read_text(encoding="utf-8"))
    with atomic_write(path, "w") as stream:
        stream.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
