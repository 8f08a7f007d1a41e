"""Put the results of the benchmarks of the advice into docs/advice.md, between its markers.

``python benchmarks/advice_docs.py`` rewrites what lies between ``<!-- advice_…: begin -->`` and
``<!-- advice_…: end -->``; a test keeps the page up to date with the result files.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optiscale.advice.tables import markdown, number, size, span
from optiscale.io import atomic_write, read_json
from optiscale.laws import LAWS

PAGE = Path(__file__).parents[1] / "docs" / "advice.md"
RESULTS = Path(__file__).parent / "results"
Row = Mapping[str, Any]


def losses(result: Mapping[str, Any]) -> str:
    """Losses and gains of the published lines over D."""
    gains = {row["model"]: row for row in result["lines"]["gains"] if row["D"] != result["lines"]["losses"][0]["D"]}
    rows = []
    for row in result["lines"]["losses"]:
        gain = gains[row["model"]]
        rows.append(
            [
                row["model"],
                f"{row['D']:,}",
                number(row["loss"]),
                span(row["low"], row["high"]),
                span(row["run_low"], row["run_high"]),
                f"{number(gain['gain'])} {span(gain['low'], gain['high'])}",
                row["law"],
            ]
        )
    D = next(iter(gains.values()))["D"]
    columns = ["network", "D", "loss", "mean law, 90 %", "new run, 90 %", f"10,000 more at {D:,} lower it by", "law"]
    return markdown(columns, rows)


def targets(result: Mapping[str, Any]) -> str:
    """List what reaches a loss on the published grids."""
    rows = [
        [row["model"], f"{'N' if row['variable'] == 'D' else 'D'} = {row['fixed']:,}", row["verdict"]]
        for row in result["grids"]["targets"]
        if row["variable"] == "D"
    ]
    return markdown(["network", "at", f"loss {number(result['grids']['targets'][0]['target'])} needs"], rows)


def frontiers(result: Mapping[str, Any]) -> str:
    """Best sizes over budgets on the published grids."""
    rows = []
    for model, found in result["frontier"].items():
        for row in found["points"]:
            far = f"{row['beyond']:.2g} times beyond" if row["beyond"] > 1.01 else "inside"
            below = "below the smallest" in row["warning"]
            rows.append(
                [
                    model.removeprefix("OptiMetal"),
                    f"{row['budget']:.0e}",
                    f"{size(row['N'])} [{size(row['N_low'])}, {size(row['N_high'])}]",
                    f"{size(row['D'])} [{size(row['D_low'])}, {size(row['D_high'])}]",
                    f"{number(row['loss'])} {span(row['low'], row['high'])}",
                    "below the smallest N" if below else far,
                ]
            )
    text = markdown(["network", "budget", "best N", "best D", "loss", "the data"], rows)
    notes = [
        f"{model}: best N grows as C^{n[1]:.2f} [{n[0]:.2f}, {n[2]:.2f}], best D as C^{d[1]:.2f} "
        f"[{d[0]:.2f}, {d[2]:.2f}]"
        for model, found in result["frontier"].items()
        for n, d in [(found["growth"]["N"], found["growth"]["D"])]
    ]
    return text + "\n\n" + "\n".join(f"- {note}" for note in notes)


def replay(result: Mapping[str, Any]) -> str:
    """Cost at which every order has the answers of the full grid."""
    rows = []
    for model, costs in result["published"].items():
        for cost, one in costs.items():
            for criterion in ("expected", "reached"):
                orders = one["orders"]
                words = "expected" if criterion == "expected" else "came out"
                names = ("next", "smallest first", "random", *(("informed",) if criterion == "expected" else ()))
                cells = [_share(orders[name][criterion]) for name in names] + [""] * (4 - len(names))
                rows.append([model.removeprefix("OptiMetal"), cost, words, *cells])
    early = [
        f"{model.removeprefix('OptiMetal')}, cost {cost}: {100 * one['orders']['random']['as_early_as_next']:.0f} % of "
        f"{result['random_orders']} random orders came out as early as next"
        for model, costs in result["published"].items()
        for cost, one in costs.items()
    ]
    columns = ["network", "cost of a run", "criterion", "next", "smallest first", "random (median)", "bound"]
    return markdown(columns, rows, [*early, f"{result['cpu_seconds']} s of one core"])


def _share(value: float | None) -> str:
    return "not by 80 %" if value is None else f"{100 * value:.2g} %"


def errors(result: Mapping[str, Any]) -> str:
    """List the standard errors that a budget buys, over those of the full grid."""
    rows = []
    for model, costs in result["published"].items():
        for cost, one in costs.items():
            for wanted in (0.05, 0.1, 0.2, 0.4):
                i = min(range(len(one["budgets"])), key=lambda i: abs(one["budgets"][i] - wanted))
                cells = [
                    f"{one['orders'][name]['error'][i]:.2f}"
                    for name in ("next", "smallest first", "random", "informed")
                ]
                count = one["orders"]["next"]["cells"][i]
                rows.append(
                    [model.removeprefix("OptiMetal"), cost, f"{100 * one['budgets'][i]:.2g} %", *cells, str(count)]
                )
    return markdown(
        ["network", "cost of a run", "spent", "next", "smallest first", "random (median)", "bound", "cells of next"],
        rows,
    )


def coverage(result: Mapping[str, Any]) -> str:
    """Coverage of every interval by true law, in per cent."""
    answers = list(dict.fromkeys(row["answer"] for row in result["rows"]))
    laws = list(dict.fromkeys(row["law"] for row in result["rows"]))
    found = {(row["law"], row["answer"]): row for row in result["rows"]}

    def cell(law: str, answer: str) -> str:
        row = found.get((law, answer))
        return "" if row is None else f"{100 * row['coverage']:.0f} ({100 * row['off']:.1f})"

    return markdown(["true law", *answers], [[LAWS[law].label, *(cell(law, one) for one in answers)] for law in laws])


BLOCKS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "losses": ("advice_published", losses),
    "targets": ("advice_published", targets),
    "frontiers": ("advice_published", frontiers),
    "replay": ("advice_replay", replay),
    "errors": ("advice_replay", errors),
    "coverage": ("advice_coverage", coverage),
}


def render(page: str) -> str:
    """Fill every block of the page from the result files."""
    for name, (source, write) in BLOCKS.items():
        begin, end = f"<!-- advice_{name}: begin -->", f"<!-- advice_{name}: end -->"
        text = f"{begin}\n{write(read_json(RESULTS / f'{source}.json'))}\n{end}"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        page, found = re.subn(pattern, lambda _, text=text: text, page, flags=re.DOTALL)
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
