"""The first screen: what the study found, in plain words, a card a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from optiscale.advice import Gain, LossForecast, TargetForecast, forecast_gains, forecast_losses, forecast_targets
from optiscale.advice.forecast import FURTHER
from optiscale.figures.scaling import Kind, one_series_a_network
from optiscale.figures.style import network_styles, short_number
from optiscale.laws import LAWS, Interval, Series, StudyFits
from optiscale.laws.extrapolation import LAST_VALUE
from optiscale.report.charts.base import LEVEL
from optiscale.report.charts.diagnostics import label
from optiscale.report.charts.losses import SIZE

FACTORS = (2, 5, 10)
"""Multiples of the largest measured size that the page forecasts."""
LOWER = (0.1, 0.25, 0.5)
"""Targets: parts by which the loss should fall below the lowest one measured."""
_NOISE, _EXPLAINED = "seed noise", "seed noise explains"
_KINDS: tuple[Kind, ...] = ("data", "parameters")


@dataclass(frozen=True)
class Answer:
    """One question of a card: the answer in a word or a number, and what stands behind it."""

    question: str
    answer: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the study says about one network."""

    network: str
    color: str
    answers: Sequence[Answer]


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """Answers about runs not made, of one series along its size."""

    series: Series
    losses: Sequence[LossForecast]
    targets: Sequence[TargetForecast]
    gains: Sequence[Gain]


def forecasts(fits: StudyFits, kind: Kind) -> list[Forecasts]:
    """Forecast along D or N for the main series of every network, as far as a law was fitted to it."""
    found = []
    for one in one_series_a_network(fits, kind).values():
        if one.choice is None or not one.choice.weights:
            continue
        alone = replace(fits, series=[one])
        largest, lowest = int(one.points["x"].max()), float(one.points["mean"].min())
        sizes = [factor * largest for factor in FACTORS]
        over_data = kind == "data"
        targets = [forecast_targets(alone, (1.0 - part) * lowest)[0] for part in LOWER]
        further = FURTHER if largest >= FURTHER else largest
        found.append(
            Forecasts(
                series=one,
                losses=forecast_losses(alone, D=sizes if over_data else (), N=() if over_data else sizes),
                targets=targets,
                gains=forecast_gains(alone, further=further) if over_data else [],
            )
        )
    return found


def cards(fits: StudyFits, made: dict[Kind, list[Forecasts]]) -> list[Card]:
    """One card a network, the networks in the order of the figures."""
    lines = {kind: one_series_a_network(fits, kind) for kind in _KINDS}
    maps = {one.model: one for one in fits.series if one.kind == "map"}
    names = network_styles([one.model for one in fits.series])
    by_model = {kind: {one.series.model: one for one in made[kind]} for kind in _KINDS}
    found = []
    for name, style in names.items():
        answers: list[Answer] = []
        for kind in _KINDS:
            if name in lines[kind]:
                answers += _along(lines[kind][name], by_model[kind].get(name))
        if name in maps:
            answers += _over_both(maps[name])
        answers += _noise([*(lines[kind][name] for kind in _KINDS if name in lines[kind]), *_of(maps, name)])
        found.append(Card(network=name, color=style.color, answers=answers))
    return found


def _of(maps: dict[str, Series], name: str) -> list[Series]:
    return [maps[name]] if name in maps else []


def _along(one: Series, forecast: Forecasts | None) -> list[Answer]:
    size = SIZE[one.kind]
    other = "N" if size == "D" else "D"
    where = f"at {other} = {short_number(one.fixed[other])}"
    answers = [_law(one, f"Law over {size}", where)]
    if one.kind == "data":
        answers.append(_broken(one))
    if forecast is not None:
        what = "Twice the data" if size == "D" else "Twice the parameters"
        answers.append(_more(one, forecast.losses[0], what))
    return answers


def _law(one: Series, question: str, where: str) -> Answer:
    if one.best is None or one.choice is None:
        return Answer(question, "none", f"{where}: too few points to fit any law")
    rows = {row.law: row for row in one.choice.table}
    best, last = rows[one.best], rows.get(LAST_VALUE)
    if best.rmsle is None:
        return Answer(question, label(one.best), f"{where}; {one.choice.reason}")
    detail = f"{where}; wrong by {100 * best.rmsle:.2g} % at held-out larger sizes"
    if last is not None and last.rmsle is not None:
        detail += f", where saying that nothing changes is wrong by {100 * last.rmsle:.2g} %"
    return Answer(question, label(one.best), detail)


def _broken(one: Series) -> Answer:
    question = "Is it broken?"
    if one.breaks is None:
        return Answer(question, "not tested", "too few points for a law with a break")
    found = one.breaks
    answer = "no break needed" if found.verdict.startswith("no break") else "broken"
    detail = f"{found.verdict[0].upper()}{found.verdict[1:]}"
    if answer == "broken":
        place = _interval(found.position)
        exponents = [found.exponents[name] for name in ("a1", "a2") if name in found.exponents]
        slopes = f"; exponent {exponents[0]:.2f} before, {exponents[1]:.2f} after" if len(exponents) == 2 else ""
        return Answer(question, f"yes, D_c = {place}", f"{detail}{slopes}; with {label(found.broken).lower()}")
    return Answer(question, answer, detail)


def _interval(where: Interval) -> str:
    ends = [None if end is None else short_number(end) for end in (where.low, where.high)]
    if ends == [None, None]:
        return f"{short_number(where.value)}, {100 * where.level:.0f} % interval open on both sides"
    low, high = (end or "open" for end in ends)
    return f"{short_number(where.value)} ({100 * where.level:.0f} %: {low} to {high})"


def _more(one: Series, forecast: LossForecast, question: str) -> Answer:
    largest = float(one.points["x"].max())
    choice = one.choice
    if choice is None:
        return Answer(question, "not known", "")
    now = float(choice.predict(x=largest))
    change = 100.0 * (forecast.loss / now - 1.0)
    size = SIZE[one.kind]
    low, high = (100.0 * (end / now - 1.0) for end in (forecast.low, forecast.high))
    detail = (
        f"{size} from {short_number(largest)} to {short_number(2 * largest)}: loss {now:.3g} to {forecast.loss:.3g} "
        f"({100 * LEVEL:.0f} %: {forecast.low:.3g} to {forecast.high:.3g}, that is {signed(low)} to {signed(high)} %)"
    )
    if low < 0 < high:
        detail += "; the points do not settle that it helps"
    return Answer(question, f"{signed(change)} % loss", detail)


def signed(value: float) -> str:
    """Write a change with its sign and two digits or whole per cents."""
    text = f"{value:+.1f}" if abs(value) < 10 else f"{value:+.0f}"
    return text.replace("-", "−")


def _over_both(one: Series) -> list[Answer]:
    answers = [_law(one, "Law over D and N", f"{len(one.points)} points")]
    if one.breaks is not None and not one.breaks.verdict.startswith("no break"):
        place = _interval(one.breaks.position)
        answers.append(Answer("Break of the map", f"D_c = {place}", f"with {label(one.breaks.broken).lower()}"))
    return answers


def _noise(series: Sequence[Series]) -> list[Answer]:
    """Scatter of the runs, and whether it explains what the law to use leaves."""
    judged = [one for one in series if one.best is not None and one.fits[one.best].noise is not None]
    if not judged:
        return [Answer("Noise", "not known", "no point has two seeds or more: the errors are those of the residuals")]
    noise = judged[0].fits[str(judged[0].best)].noise
    words = []
    for one in judged:
        fit, over = one.fits[str(one.best)], "D and N" if one.kind == "map" else SIZE[one.kind]
        if any(note.startswith(_NOISE) for note in fit.notes):
            does = "explains" if any(note.startswith(_EXPLAINED) for note in fit.notes) else "does not explain"
            words.append(f"it {does} what the law over {over} leaves (chi²/dof {fit.redchi:.2g})")
    relative = noise is not None and noise.weights != "pooled-absolute"
    scale = 0.0 if noise is None else noise.scale
    size = f"{100 * scale:.2g} % a run" if relative else f"{scale:.2g} a run"
    return [Answer("Seed noise", size, "; ".join(words))]


def verdicts(one: Series) -> list[str]:
    """Say in words what the points show of the law to use and of a break."""
    found = [] if one.best is None else [note for note in one.fits[one.best].notes if note.startswith(_NOISE)]
    return [*found, *([] if one.breaks is None else [one.breaks.verdict])]


def warnings(one: Series) -> list[str]:
    """Collect what a reader must be careful of in the law to use, and in the one with a break."""
    names = [one.best, None if one.breaks is None else one.breaks.broken]
    found = []
    for name in dict.fromkeys(name for name in names if name is not None):
        fit = one.fits[name]
        found += [f"{label(name)}: {note}" for note in fit.notes if not note.startswith(_EXPLAINED)]
        if fit.n_starts and fit.n_agree < 0.5 * fit.n_starts:
            found.append(f"{label(name)}: only {fit.n_agree} of {fit.n_starts} starts end at the lowest chi-square")
        if fit.alternatives:
            values = [_values(name, other.values) for other in fit.alternatives]
            found.append(f"{label(name)}: nearly as good: {'; '.join(values)}")
    return found


def _values(law: str, values: Sequence[float]) -> str:
    names = LAWS[law].parameters if law in LAWS else tuple(str(i) for i in range(len(values)))
    return ", ".join(f"{name} = {value:.3g}" for name, value in zip(names, values, strict=True))


def title_of(one: Series) -> str:
    """Name a series: its network and what is fixed."""
    if one.kind == "map":
        return f"{one.model}, over D and N"
    size = SIZE[one.kind]
    other = "N" if size == "D" else "D"
    return f"{one.model}, over {size} at {other} = {short_number(one.fixed[other])}"


def rounded(value: float | None) -> str:
    """Size in words; ``open`` where there is none."""
    return "open" if value is None or not np.isfinite(value) else short_number(value)
