"""What a series and its fit say, in words."""

from __future__ import annotations

from collections.abc import Sequence

from optiscale.figures.style import short_number
from optiscale.laws import LAWS, LawFit, Series
from optiscale.laws.registry import LOG_PREFIX
from optiscale.report.charts.diagnostics import label
from optiscale.report.charts.losses import SIZE

_NOISE, _EXPLAINED = "seed noise", "seed noise explains"  # how the notes of a fit begin (optiscale.laws.diagnose)
_FEW_AGREE = 0.5


def held_at(one: Series) -> str:
    """Say what is fixed along a series, such as ``N = 8.14M``, in one unbroken piece."""
    if one.kind == "map":
        return f"{len(one.points)} points"
    other = "N" if SIZE[one.kind] == "D" else "D"
    return f"{other}\u00a0=\u00a0{short_number(one.fixed[other])}"


def over(one: Series) -> str:
    """Say what varies along a series."""
    return "D and N" if one.kind == "map" else SIZE[one.kind]


def title_of(one: Series) -> str:
    """Name a series: its network, what varies and what is fixed."""
    return f"{one.model}, over {over(one)}" + ("" if one.kind == "map" else f" at {held_at(one)}")


def explained(fit: LawFit) -> bool | None:
    """Whether seed noise explains the residuals; None where nobody can tell."""
    if any(note.startswith(_EXPLAINED) for note in fit.notes):
        return True
    return False if any(note.startswith(_NOISE) for note in fit.notes) else None


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
        if fit.n_starts and fit.n_agree < _FEW_AGREE * fit.n_starts:
            found.append(f"{label(name)}: only {fit.n_agree} of {fit.n_starts} starts end at the lowest chi-square")
        if fit.alternatives:
            values = [_values(name, other.values) for other in fit.alternatives]
            found.append(f"{label(name)}: nearly as good: {'; '.join(values)}")
    return found


def _values(law: str, values: Sequence[float]) -> str:
    names = LAWS[law].parameters if law in LAWS else tuple(str(i) for i in range(len(values)))
    pairs = zip(names, values, strict=True)
    return ", ".join(f"{name.replace(LOG_PREFIX, 'log10 ')} = {value:.3g}" for name, value in pairs)


def signed(value: float) -> str:
    """Write a change in per cent with its sign: one decimal below ten, none above."""
    text = f"{value:+.1f}" if abs(value) < 10 else f"{value:+.0f}"
    return text.replace("-", "−")
