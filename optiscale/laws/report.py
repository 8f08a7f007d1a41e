"""Tables of fits in Markdown and LaTeX (booktabs), in the layout of arXiv:2602.05702.

Per study and kind of series: error at held-out larger sizes, beside the last value, with the law to use in bold; AICc
and BIC of every form; what is said about a break; then one table a law with its parameters, their standard errors, the
number of points and the reduced chi-square. In the published protocol nothing is held out and no break is tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optiscale.io import atomic_write
from optiscale.laws.extrapolation import LAST_VALUE
from optiscale.laws.registry import LAWS, LOG_PREFIX, Law
from optiscale.laws.result import LawFit
from optiscale.laws.study import Series, StudyFits

_TITLES = {"data": "Loss over data size D", "parameters": "Loss over parameter count N", "map": "Loss over N and D"}
_FILES = {"laws_1d": ("data", "parameters"), "maps_2d": ("map",)}
_EMPTY = "No series of this kind."
_LATEX_SPECIAL = str.maketrans(
    {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": " ", "^": " ", "\\": "/"}
)
_LATEX_SYMBOLS = {
    "a": r"\alpha",
    "a1": r"\alpha_1",
    "a2": r"\alpha_2",
    "aN": r"\alpha_N",
    "Linf": r"L_\infty",
    "L0": "L_0",
    "A": "A",
    "x0": "x_0",
    "xc": "x_c",
    "Nc": "N_c",
    "Dc": "D_c",
}


@dataclass(frozen=True)
class _Number:
    """A cell that holds a number: `digits` decimals, an error, bold for the best."""

    value: float | None
    stderr: float | None = None
    digits: int = 2
    bold: bool = False


_Cell = str | _Number


@dataclass(frozen=True)
class _Table:
    caption: str
    formula: tuple[str, str]  # text, LaTeX
    columns: Sequence[str]
    rows: Sequence[Sequence[_Cell]]


def write_tables(fits: StudyFits, folder: Path) -> list[Path]:
    r"""Write ``laws_1d`` and ``maps_2d``, each as ``.md`` and ``.tex``, with a section a study.

    Parameters
    ----------
    fits
        What :func:`~optiscale.laws.study.fit_study` returns.
    folder
        Made if needed; files of the same names are replaced, each atomically.

    Returns
    -------
    list of Path
        The four files. The LaTeX ones are to be read by ``\input`` and need ``\usepackage{booktabs}`` alone.
    """
    written = []
    for stem, kinds in _FILES.items():
        series = [one for one in fits.series if one.kind in kinds]
        for suffix, render in ((".md", _markdown), (".tex", _latex)):
            path = Path(folder) / f"{stem}{suffix}"
            with atomic_write(path, "w") as stream:
                stream.write(render(series, kinds, fits.notes))
            written.append(path)
    return written


def _studies(series: Sequence[Series]) -> list[str]:
    return list(dict.fromkeys(one.study for one in series))


def _markdown(series: Sequence[Series], kinds: Sequence[str], notes: Sequence[str]) -> str:
    parts = []
    for study in _studies(series):
        parts.append(f"# {study or 'Study'}")
        for table in _tables([one for one in series if one.study == study], kinds):
            head = "| " + " | ".join(_text(name) for name in table.columns) + " |"
            rule = "|" + "---|" * len(table.columns)
            rows = ["| " + " | ".join(_text(cell) for cell in row) + " |" for row in table.rows]
            formula = f"\n\n`L = {table.formula[0]}`" if table.formula[0] else ""
            parts += [f"## {table.caption}{formula}", "\n".join([head, rule, *rows])]
    parts += ["\n".join(f"- {note}" for note in _all_notes(series, notes))] if series else [_EMPTY]
    return "\n\n".join(part for part in parts if part) + "\n"


def _latex(series: Sequence[Series], kinds: Sequence[str], notes: Sequence[str]) -> str:
    parts = ["% needs \\usepackage{booktabs}"]
    for study in _studies(series):
        for table in _tables([one for one in series if one.study == study], kinds):
            formula = f" $L = {table.formula[1]}$." if table.formula[1] else ""
            caption = f"{study or 'Study'}: {table.caption}.".translate(_LATEX_SPECIAL) + formula
            rows = [" & ".join(_tex(cell) for cell in row) + r" \\" for row in table.rows]
            parts.append(
                "\n".join(
                    [
                        r"\begin{table}",
                        r"\centering",
                        rf"\caption{{{caption}}}",
                        rf"\begin{{tabular}}{{ll{'r' * (len(table.columns) - 2)}}}",
                        r"\toprule",
                        " & ".join(_tex(name) for name in table.columns) + r" \\",
                        r"\midrule",
                        *rows,
                        r"\bottomrule",
                        r"\end{tabular}",
                        r"\end{table}",
                    ]
                )
            )
    parts += [f"% {note}" for note in _all_notes(series, notes)] if series else [f"% {_EMPTY}"]
    return "\n\n".join(parts) + "\n"


def _all_notes(series: Sequence[Series], notes: Sequence[str]) -> list[str]:
    """Collect the notes of the fits; of those chosen among by held-out error only the law to use and the broken one."""
    own = []
    for one in series:
        shown = None if one.choice is None else {one.best, None if one.breaks is None else one.breaks.broken}
        own += [
            f"{one.model}, {_fixed(one)}, {LAWS[name].label if name in LAWS else name}: {'; '.join(fit.notes)}"
            for name, fit in one.fits.items()
            if fit.notes and (shown is None or name in shown)
        ]
    return [*notes, *own]


def _tables(series: Sequence[Series], kinds: Sequence[str]) -> list[_Table]:
    tables = []
    for kind in kinds:
        chosen = [one for one in series if one.kind == kind]
        if chosen:
            names = list(dict.fromkeys(name for one in chosen for name in one.fits))
            held_out = any(one.choice is not None for one in chosen)
            if held_out:  # there are many laws: those that no series has the points for are left out
                names = [name for name in names if any(name in one.fits and one.fits[name].fitted for one in chosen)]
            if held_out:
                tables.append(_held_out_table(kind, chosen, names))
            tables.append(_criterion_table(kind, chosen, names, "AICc"))
            if held_out:
                tables.append(_criterion_table(kind, chosen, names, "BIC"))
            if any(one.breaks is not None for one in chosen):
                tables.append(_break_table(kind, chosen))
            tables += [_law_table(kind, chosen, LAWS[name]) for name in names if name in LAWS]
    return tables


def _labels(names: Sequence[str]) -> list[str]:
    return [LAWS[name].label if name in LAWS else name for name in names]


def _held_out_table(kind: str, series: Sequence[Series], names: Sequence[str]) -> _Table:
    rows: list[list[_Cell]] = []
    for one in series:
        table = {} if one.choice is None else {row.law: row for row in one.choice.table}
        cells: list[_Cell] = [one.model, _fixed(one)]
        for name in [LAST_VALUE, *names]:
            row = table.get(name)
            error = None if row is None or row.rmsle is None else 100.0 * row.rmsle
            cells.append(_Number(error, bold=name == one.best))
        rows.append([*cells, LAWS[one.best].label if one.best in LAWS else "none"])
    caption = (
        f"{_TITLES[kind]}: error at held-out larger sizes in per cent (root mean square of ln), the law to use in bold"
    )
    return _Table(caption, ("", ""), ["network", "fixed", LAST_VALUE, *_labels(names), "law to use"], rows)


def _criterion_table(kind: str, series: Sequence[Series], names: Sequence[str], criterion: str) -> _Table:
    rows: list[list[_Cell]] = []
    for one in series:
        values = {name: fit.aicc if criterion == "AICc" else fit.bic for name, fit in one.fits.items()}
        lowest = min((value for value in values.values() if value is not None), default=None)
        cells: list[_Cell] = [one.model, _fixed(one), str(len(one.points))]
        for name in names:
            bold = name == one.best if one.choice is None else values.get(name) == lowest
            cells.append(_Number(values.get(name), bold=bold))
        rows.append(cells)
    caption = f"{_TITLES[kind]}: {criterion} of every form, the best in bold"
    return _Table(caption, ("", ""), ["network", "fixed", "points", *_labels(names)], rows)


def _break_table(kind: str, series: Sequence[Series]) -> _Table:
    rows: list[list[_Cell]] = []
    for one in series:
        if one.breaks is not None:
            where = one.breaks.position
            ends = [short(where.low), short(where.value), short(where.high)]
            laws = [LAWS[name].label if name in LAWS else name for name in (one.breaks.broken, one.breaks.simple)]
            rows.append([one.model, _fixed(one), *laws, *ends, one.breaks.verdict])
    level = next(one.breaks.position.level for one in series if one.breaks is not None)
    columns = ["network", "fixed", "with break", "without", "from", "break at", "to", "verdict"]
    return _Table(f"{_TITLES[kind]}: is it broken? ({100 * level:.0f} % interval)", ("", ""), columns, rows)


def short(value: float | None) -> str:
    """Write a size with three digits; ``open`` where an interval has no end."""
    return "open" if value is None else f"{value:.3g}"


def _law_table(kind: str, series: Sequence[Series], law: Law) -> _Table:
    rows = [_law_row(one, one.fits[law.name], law) for one in series if law.name in one.fits]
    columns = ["network", "fixed", *(f"${name}$" for name in law.parameters), "AICc", "chi2/dof", "points", "starts"]
    return _Table(f"{_TITLES[kind]}: {law.label}", (law.formula, law.latex), columns, rows)


def _law_row(one: Series, fit: LawFit, law: Law) -> list[_Cell]:
    values: list[_Cell] = [_Number(*fit.params.get(name, (None, None))) for name in law.parameters]
    starts = f"{fit.n_agree}/{fit.n_starts}"
    return [one.model, _fixed(one), *values, _Number(fit.aicc), _Number(fit.redchi, digits=3), str(fit.n), starts]


def _fixed(one: Series) -> str:
    width = one.fixed.get("width")
    if "N" in one.fixed:
        return f"N = {one.fixed['N']}" + (f" (width {width})" if width else "")
    return f"D = {one.fixed['D']}" if "D" in one.fixed else "grid"


def _number(cell: _Number, plus_minus: str) -> str:
    if cell.value is None:
        return ""
    # A residual variance of an unweighted fit is far below 1: significant digits, not decimals.
    small = cell.stderr is None and 0 < abs(cell.value) < 10.0**-cell.digits
    text = f"{cell.value:.2g}" if small else f"{cell.value:.{cell.digits}f}"
    return text if cell.stderr is None else f"{text}{plus_minus}{cell.stderr:.{cell.digits}f}"


def _text(cell: _Cell) -> str:
    if isinstance(cell, _Number):
        text = _number(cell, " ± ") or "–"
        return f"**{text}**" if cell.bold and cell.value is not None else text
    name = cell.strip("$") if cell.startswith("$") else cell
    return name.replace(LOG_PREFIX, "log10 ").replace("|", "/")


def _tex(cell: _Cell) -> str:
    if isinstance(cell, _Number):
        text = _number(cell, r" \pm ")
        if not text:
            return "--"
        return rf"$\mathbf{{{text}}}$" if cell.bold else f"${text}$"
    if cell == "chi2/dof":
        return r"$\chi^2_\nu$"
    if not cell.startswith("$"):
        return cell.translate(_LATEX_SPECIAL)
    name = cell.strip("$")
    bare = name.removeprefix(LOG_PREFIX)
    symbol = _LATEX_SYMBOLS.get(bare, rf"\mathrm{{{bare.translate(_LATEX_SPECIAL)}}}")
    return rf"$\log_{{10}} {symbol}$" if name != bare else f"${symbol}$"
