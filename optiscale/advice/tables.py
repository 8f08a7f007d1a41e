"""Answers as Markdown, for the terminal and for pages."""

from __future__ import annotations

from collections.abc import Sequence

from optiscale.advice.forecast import Gain, LossForecast
from optiscale.advice.frontier import Frontier
from optiscale.advice.next_runs import Plan
from optiscale.advice.targets import TargetForecast

_BEYOND = 1.01
_PLAIN = 1e12  # sizes below it are written out


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Write a Markdown table, and each note that is not empty once below it."""
    cells = [[one.replace("|", "/") for one in line] for line in [columns, ["---"] * len(columns), *rows]]
    below = [f"- {note}" for note in dict.fromkeys(notes) if note]
    return "\n".join(["| " + " | ".join(line) + " |" for line in cells] + ([""] if below else []) + below)


def loss_table(rows: Sequence[LossForecast]) -> str:
    """Losses at sizes not yet run."""
    cells = [
        [
            *_who(row),
            f"{row.D:,}",
            f"{row.N:,}",
            number(row.loss),
            span(row.low, row.high),
            "scatter unknown" if row.run_low is None or row.run_high is None else span(row.run_low, row.run_high),
            times(row.beyond),
        ]
        for row in rows
    ]
    level = f"{100 * rows[0].level:.0f} %"
    columns = ["study", "network", "D", "N", "loss", f"mean law, {level}", f"new run, {level}", "times beyond the data"]
    return markdown(columns, cells, _notes(rows))


def target_table(rows: Sequence[TargetForecast]) -> str:
    """Sizes that reach a loss."""
    cells = [
        [
            *_who(row),
            f"{'N' if row.variable == 'D' else 'D'} = {row.fixed:,}",
            row.verdict,
            "none" if row.floor_high == 0 else f"{number(row.floor)} {span(row.floor_low, row.floor_high)}",
        ]
        for row in rows
    ]
    level = f"{100 * rows[0].level:.0f} %"
    columns = ["study", "network", "at", f"loss {number(rows[0].target)} needs ({level} interval)", "floor"]
    return markdown(columns, cells, _notes(rows))


def gain_table(rows: Sequence[Gain]) -> str:
    """Falls of the loss that more materials buy."""
    cells = [
        [
            *_who(row),
            f"{row.D:,}",
            f"{row.N:,}",
            number(row.loss),
            number(row.gain),
            span(row.low, row.high),
            f"{row.per_cent:.2g}",
        ]
        for row in rows
    ]
    level = f"{100 * rows[0].level:.0f} %"
    more = f"{rows[0].further:,} more materials lower it by"
    columns = ["study", "network", "D", "N", "loss", more, level, "per cent"]
    return markdown(columns, cells, [f"{row.model}: {row.warning}" for row in rows if row.warning])


def frontier_table(found: Frontier, *, asked: Sequence[float] = ()) -> str:
    """Best sizes over budgets, those asked for in bold."""
    cells = [
        [
            f"**{point.budget:.3g}**" if point.budget in asked else f"{point.budget:.3g}",
            f"{size(point.N)} [{size(point.N_low)}, {size(point.N_high)}]",
            f"{size(point.D)} [{size(point.D_low)}, {size(point.D_high)}]",
            f"{number(point.loss)} {span(point.low, point.high)}",
            times(point.beyond),
        ]
        for point in found.points
    ]
    columns = [f"budget ({found.cost.unit})", "best N", "best D", "loss", "times beyond the data"]
    notes = [
        f"{found.series.model}: {100 * found.level:.0f} % intervals; {found.law}",
        f"cost of a run: {found.cost.source}",
        *(
            f"best {name} grows with the budget to the power {middle:.2f} [{low:.2f}, {high:.2f}]"
            for name, (low, middle, high) in found.growth.items()
        ),
        *(f"{point.budget:.3g}: {point.warning}" for point in found.points if point.warning),
    ]
    return markdown(columns, cells, notes)


def plan_table(plan: Plan, unit: str) -> str:
    """List the runs to make next, and what they are expected to tell."""
    cells = [
        [str(i), f"{run.D:,}", f"{run.N:,}", str(run.seed), f"{run.cost:.3g}", f"{run.spent:.3g}"]
        for i, run in enumerate(plan.runs, 1)
    ]
    notes = [
        *(
            f"{one.answer}: now {number(one.value)} {span(one.low, one.high)}; expected after these runs "
            f"{span(one.then_low, one.then_high)}, {one.left:.2f} of the width"
            for one in plan.expected
        ),
        f"{100 * plan.level:.0f} % intervals; the runs made so far cost {plan.made:.3g} {unit}, these {plan.spent:.3g}",
        *plan.notes,
    ]
    return markdown(["run", "D", "N", "seed", f"cost ({unit})", "cost so far"], cells, notes)


def size(value: float | None) -> str:
    """Write a size with three digits; open where an interval has no end."""
    return "open" if value is None else f"{float(f'{value:.3g}'):,.0f}"


def times(beyond: float) -> str:
    """Write how far something lies beyond the data."""
    return f"{beyond:.3g}" if beyond > _BEYOND else "inside"


def number(value: float) -> str:
    """Write a loss, or a size, with four significant digits."""
    return f"{float(f'{value:.4g}'):,.0f}" if 1e4 <= abs(value) < _PLAIN else f"{value:.4g}"


def span(low: float, high: float) -> str:
    """Write an interval."""
    return f"[{number(low)}, {number(high)}]"


def _who(row: LossForecast | TargetForecast | Gain) -> list[str]:
    return [row.study or "–", row.model]


def _notes(rows: Sequence[LossForecast] | Sequence[TargetForecast]) -> list[str]:
    laws = [f"{row.model}, {row.kind}: {row.law}" for row in rows]
    return [*laws, *(f"{row.model}: {row.warning}" for row in rows if row.warning)]
