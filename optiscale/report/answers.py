"""The first screen: what the study found, a card a network, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optiscale.figures.scaling import Kind, one_series_a_network
from optiscale.figures.style import network_styles, short_number
from optiscale.laws import Interval, Series, StudyFits
from optiscale.laws.extrapolation import LAST_VALUE
from optiscale.report.ahead import Ahead
from optiscale.report.charts.base import LEVEL
from optiscale.report.charts.diagnostics import label
from optiscale.report.charts.losses import SIZE
from optiscale.report.words import explained, held_at, over, signed

_KINDS: tuple[Kind, ...] = ("data", "parameters")
_NO_BREAK = "no break"  # how the verdict of optiscale.laws.breaks begins


@dataclass(frozen=True)
class Answer:
    """One question of a card: the answer in a word or a number, its interval or error, and what stands behind it."""

    question: str
    answer: str
    brief: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the study says about one network."""

    network: str
    color: str
    answers: Sequence[Answer]


def cards(fits: StudyFits, ahead: Mapping[Kind, Sequence[Ahead]]) -> list[Card]:
    """Make a card a network, the networks in the order of the figures."""
    lines = {kind: one_series_a_network(fits, kind) for kind in _KINDS}
    maps = {one.model: one for one in fits.series if one.kind == "map"}
    made = {kind: {one.series.model: one for one in ahead[kind]} for kind in _KINDS}
    found = []
    for name, style in network_styles([one.model for one in fits.series]).items():
        answers: list[Answer] = []
        for kind in _KINDS:
            if name in lines[kind]:
                answers += _along(lines[kind][name], made[kind].get(name))
        if name in maps:
            answers += _over_both(maps[name])
        own = [lines[kind][name] for kind in _KINDS if name in lines[kind]]
        answers.append(_noise([*own, *([maps[name]] if name in maps else [])]))
        found.append(Card(network=name, color=style.color, answers=answers))
    return found


def _along(one: Series, ahead: Ahead | None) -> list[Answer]:
    answers = [_law(one)]
    if one.kind == "data":
        answers.append(_broken(one, "Is it broken?"))
    if ahead is not None:
        answers.append(_more(one, ahead))
    return answers


def _law(one: Series) -> Answer:
    question, where = f"Law over {over(one)}", f"At {held_at(one)}" if one.kind != "map" else held_at(one)
    if one.best is None or one.choice is None:
        return Answer(question, "none", "too few points to fit any law", where)
    rows = {row.law: row for row in one.choice.table}
    best, last = rows[one.best], rows.get(LAST_VALUE)
    why = f"{where}: {one.choice.reason}."
    if best.rmsle is None:
        return Answer(question, label(one.best), "not tested at larger sizes", why)
    brief = f"held-out error {100 * best.rmsle:.2g} %"
    if last is not None and last.rmsle is not None:
        brief += f" (last value {100 * last.rmsle:.2g} %)"
    return Answer(question, label(one.best), brief, why)


def _broken(one: Series, question: str) -> Answer:
    if one.breaks is None:
        return Answer(question, "not tested", "too few points for a law with a break")
    found = one.breaks
    if found.verdict.startswith(_NO_BREAK):
        return Answer(question, "no break needed", f"p = {found.p_value:.2g}", _sentence(found.verdict))
    place = f"D_c = {short_number(found.position.value)}"
    sizes = one.points["D"]
    if not sizes.min() <= found.position.value <= sizes.max():
        brief = f"curved, but {place} lies outside the data"
        return Answer(question, "no break seen", brief, _sentence(found.verdict))
    exponents = [found.exponents[name] for name in ("a1", "a2") if name in found.exponents]
    slopes = f" Exponent {exponents[0]:.2f} before it, {exponents[1]:.2f} after." if len(exponents) == 2 else ""
    why = f"{_sentence(found.verdict)} Placed with the {label(found.broken).lower()}.{slopes}"
    brief = _ends(found.position)
    if found.broken != one.best:
        brief += f", by the {label(found.broken).lower()}"
    return Answer(question, f"yes, {place}" if one.kind == "data" else place, brief, why)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _ends(where: Interval) -> str:
    low, high = ("open" if end is None else short_number(end) for end in (where.low, where.high))
    return f"{100 * where.level:.0f} %: {low} to {high}"


def _more(one: Series, ahead: Ahead) -> Answer:
    size, forecast = SIZE[one.kind], ahead.losses[0]
    question = "Twice the data" if size == "D" else "Twice the parameters"
    choice, largest = one.choice, float(one.points["x"].max())
    if choice is None:
        return Answer(question, "not known")
    now = float(choice.predict(x=largest))
    change, low, high = (100.0 * (end / now - 1.0) for end in (forecast.loss, forecast.low, forecast.high))
    brief = f"{100 * LEVEL:.0f} %: {signed(low)} to {signed(high)} %" + (", not settled" if low < 0 < high else "")
    why = (
        f"From {size} = {short_number(largest)} to {short_number(2 * largest)} the loss goes from {now:.3g} to "
        f"{forecast.loss:.3g} ({forecast.low:.3g} to {forecast.high:.3g}), by the {forecast.law}."
    )
    if low < 0 < high:
        why += " The points do not settle whether it helps."
    return Answer(question, f"{signed(change)} % loss", brief, f"{why} {forecast.warning}".strip())


def _over_both(one: Series) -> list[Answer]:
    answers = [_law(one)]
    if one.breaks is not None and not one.breaks.verdict.startswith(_NO_BREAK):
        answers.append(_broken(one, "Break of the map"))
    return answers


def _noise(series: Sequence[Series]) -> Answer:
    """Scatter of the runs, and whether it explains what the laws to use leave."""
    question = "Seed noise"
    fits = [(one, one.fits[one.best]) for one in series if one.best is not None]
    known = [(one, fit) for one, fit in fits if fit.noise is not None]
    if not known:
        return Answer(question, "not known", "no point has two seeds", "The errors are those of the residuals.")
    noise = known[0][1].noise
    assert noise is not None  # noqa: S101 - chosen so above
    size = f"{noise.scale:.2g} a run" if noise.weights == "pooled-absolute" else f"{100 * noise.scale:.2g} % a run"
    judged = [
        ("the map" if one.kind == "map" else over(one), explained(fit), fit.redchi)
        for one, fit in known
        if explained(fit) is not None
    ]
    yes, no = ([where for where, does, _ in judged if does is wanted] for wanted in (True, False))
    parts = [f"explains what the law leaves over {_and(yes)}"] if yes else []
    parts += [
        f"does not explain it over {_and(no)}" if yes else f"does not explain what the law leaves over {_and(no)}"
    ]
    why = "; ".join(f"over {where}: chi²/dof {redchi:.2g}" for where, _, redchi in judged if redchi is not None)
    return Answer(question, size, "; ".join(parts if no else parts[:-1]), _sentence(why) if why else "")


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
