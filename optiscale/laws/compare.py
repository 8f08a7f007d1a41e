"""Compare our fits of the published losses with every published number, and say why where they differ.

``python -m optiscale.laws.compare`` writes ``docs/published-numbers.md``; a test keeps that file up to date.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import OptimizeWarning, curve_fit

from optiscale.io import atomic_write
from optiscale.laws.losses import MEAN, STD
from optiscale.laws.published import fit_published
from optiscale.laws.reference import load_published, load_published_tables
from optiscale.laws.registry import LAWS, get_law
from optiscale.laws.result import LawFit, aicc_of

DEFAULT_PATH = Path("docs/published-numbers.md")
_STUDIES = {"data-1d": ("D", "1d"), "parameter-1d": ("N", "1d"), "grid-2d": ("", "2d")}
_HALF_DIGIT = 5e-7  # the reference losses carry six decimals
_DRAWS = 40
_SEED = 1
_START_LENGTHS = (1.0, 1e1, 1e2, 1e3)
_START_EXPONENTS = (0.01, 0.1, 0.3, 1.0)
_UNDERFLOW = 1e-300
NO_REASON = "No reason found."

_SOURCE = """\
Source: M. Großmann, M. Grunert, E. Runge, *Broken neural scaling laws in materials science*,
[arXiv:2602.05702](https://arxiv.org/abs/2602.05702), first (v1) and second version (v2). The losses behind its figures
ship with the package (`optiscale/laws/reference/`); every number printed for the laws fitted to them is compared with
our fit, digit by digit."""
_METHOD = """\
Means over three seeds, weighted by 1/std (population, ddof = 0). In one dimension the covariance is scaled by the
reduced chi-square; for maps the standard deviations count as absolute. AICc = 2k + n ln(RSS/n) + (2k² + 2k)/(n - k - 1)
of the unweighted residuals, at the parameters of the weighted fit. Linf and L0 are not negative, so that over D the
floor stays at 0 and the law with floor is the power law with one more parameter to pay for. Each of our fits starts
from twelve points and keeps the lowest chi-square; the published ones start from one."""
_GOODNESS = """\
The reduced chi-square is not in the publication. It is near 1 where a law describes the losses within the
scatter of the seeds. Three seeds give a noisy standard deviation, so a factor of two either way says little."""

FitKey = tuple[str, str, str]  # study, model, law


@dataclass(frozen=True)
class Comparison:
    """One published number beside ours, both as text with the printed digits; `reason` only where they differ."""

    source: str
    study: str
    model: str
    law: str
    quantity: str
    printed: str
    ours: str
    reason: str = ""

    @property
    def reproduced(self) -> bool:
        """Whether every printed digit agrees."""
        return self.printed == self.ours


def fit_all_published() -> dict[FitKey, LawFit]:
    """Fit every law of the published tables to the published losses, by study, model and law."""
    losses = load_published()
    return {
        (study, model, name): fit_published(name, *_points(losses, study, model))
        for study, (_, kind) in _STUDIES.items()
        for model in losses.loc[losses["study"] == study, "model"].unique()
        for name, law in LAWS.items()
        if law.published and law.kind == kind
    }


def compare(fits: dict[FitKey, LawFit]) -> list[Comparison]:
    """Compare every published number, in the order of the tables."""
    rows = []
    for row in load_published_tables().itertuples(index=False):
        key = (str(row.study), str(row.model), str(row.law))
        quantity, printed = str(row.quantity), str(row.printed)
        ours = as_printed(_value(fits[key], quantity), printed)
        reason = "" if ours == printed else _reason(fits, key, quantity, printed)
        rows.append(Comparison(str(row.source), *key, quantity, printed, ours, reason))
    return rows


def as_printed(value: float, printed: str) -> str:
    """Write `value` with the decimals, and the k for thousands, of a printed number."""
    thousands = printed.endswith("k")
    digits = len(printed.removesuffix("k").partition(".")[2])
    return f"{value / 1000.0:.{digits}f}k" if thousands else f"{value:.{digits}f}"


def rounding_range(fit: LawFit, study: str, model: str) -> tuple[float, float]:
    """Lowest and highest AICc when the losses and their deviations move within the rounding of the reference table.

    Seeded uniform draws, each refitted from the optimum.
    """
    x, loss, std = _points(load_published(), study, model)
    law = get_law(fit.law)
    lmfit_model = law.model()
    start = lmfit_model.make_params(**dict(zip(law.parameters, fit.values(), strict=True)))
    rng = np.random.default_rng(_SEED)
    found = []
    for _ in range(_DRAWS):
        moved, spread = (values + rng.uniform(-_HALF_DIGIT, _HALF_DIGIT, size=len(values)) for values in (loss, std))
        result = lmfit_model.fit(moved, start, weights=1.0 / spread, calc_covar=False, **x)
        found.append(aicc_of(moved - result.best_fit, fit.k))
    usable = [value for value in found if value is not None]
    return min(usable), max(usable)


def single_start_fit(study: str, model: str, printed: str) -> tuple[float, float, float] | None:
    """Find a single start that ends at x0 = 0 with the printed AICc; return its exponent, AICc and chi-square.

    ``curve_fit`` of (x0 / x)^a with x0 itself as the parameter, from a fixed list of starts. It can slide along a < 0,
    x0 -> 0, where the law becomes a constant, until x0 leaves the range of double precision and it stops.
    """
    x, loss, std = _points(load_published(), study, model)

    def law(n: np.ndarray, x0: float, a: float) -> np.ndarray:
        return np.asarray((x0 / n) ** a)

    for start in itertools.product(_START_LENGTHS, _START_EXPONENTS):
        # The wandering itself is what is looked for here: overflows on the way and a missing covariance are expected.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)
            (x0, a), *_ = curve_fit(law, x["x"], loss, p0=start, sigma=std, maxfev=20000)
            residuals = law(x["x"], x0, a) - loss
        aicc = aicc_of(residuals, 2)
        if aicc is not None and as_printed(aicc, printed) == printed and abs(x0) < _UNDERFLOW:
            return float(a), aicc, float(np.sum((residuals / std) ** 2))
    return None


def _points(losses: pd.DataFrame, study: str, model: str) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    points = losses[(losses["study"] == study) & (losses["model"] == model)]
    along, kind = _STUDIES[study]
    names = {"x": along} if kind == "1d" else {"N": "N", "D": "D"}
    x = {variable: points[column].to_numpy(dtype=float) for variable, column in names.items()}
    return x, points[MEAN].to_numpy(dtype=float), points[STD].to_numpy(dtype=float)


def _value(fit: LawFit, quantity: str) -> float:
    if quantity == "aicc":
        value = fit.aicc
    else:
        name, _, what = quantity.partition(" ")
        value = fit.params[name][1 if what == "stderr" else 0]
    return float("nan") if value is None else value


def _reason(fits: dict[FitKey, LawFit], key: FitKey, quantity: str, printed: str) -> str:
    """Say why the published number differs from ours, with the evidence for it."""
    study, model, law = key
    fit = fits[key]
    if quantity != "aicc":
        return NO_REASON
    low, high = rounding_range(fit, study, model)
    if low - 0.005 <= float(printed) <= high + 0.005:
        return (
            f"Rounding: the reference losses carry six decimals. Moved within that and fitted again, they give "
            f"{low:.2f} to {high:.2f}, which contains the printed number."
        )
    stalled = single_start_fit(study, model, printed) if law == "power" else None
    if stalled is None:
        return NO_REASON
    a, aicc, chi2 = stalled
    return (
        "The published fit did not reach the minimum. A fit of (x0/x)^a from one start can slide to x0 -> 0, where "
        "the law is a constant: scipy's curve_fit then stops where x0 leaves double precision "
        f"(below {_UNDERFLOW:g}), at a = {a:.5f}, chi-square {chi2:.0f} and AICc {aicc:.2f}, the printed "
        f"number. The minimum lies at x0 = {fit.params['x0'][0]:.1e}, a = {fit.params['a'][0]:.3f}, "
        f"chi-square {fit.chi2:.0f}."
    )


def to_markdown(rows: Sequence[Comparison], fits: dict[FitKey, LawFit]) -> str:
    """Write the comparison as a page."""
    missed = [row for row in rows if not row.reproduced]
    parts = [
        "# The published numbers, reproduced",
        "Written by `python -m optiscale.laws.compare`; do not edit.",
        _SOURCE,
        f"**{len(rows) - len(missed)} of {len(rows)} numbers agree in every printed digit.** The others, with reasons:",
        _table(
            ["version", "study", "network", "law", "quantity", "printed", "ours", "reason"],
            [[*_labels(row), row.printed, row.ours, row.reason] for row in missed],
        ),
        "## How they are fitted",
        _METHOD,
        "## Goodness of fit",
        _GOODNESS,
        _table(
            ["study", "network", "law", "points", "parameters", "chi-square", "reduced chi-square", "AICc"],
            [_goodness(key, fit) for key, fit in fits.items()],
        ),
        "## Every number",
        _table(
            ["version", "study", "network", "law", "quantity", "printed", "ours", ""],
            [[*_labels(row), row.printed, row.ours, "=" if row.reproduced else "differs"] for row in rows],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _labels(row: Comparison) -> list[str]:
    return [row.source, row.study, row.model, row.law, row.quantity]


def _goodness(key: FitKey, fit: LawFit) -> list[str]:
    chi2, redchi, aicc = (f"{value:.2f}" if value is not None else "–" for value in (fit.chi2, fit.redchi, fit.aicc))
    return [*key, str(fit.n), str(fit.k), chi2, redchi, aicc]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page, to the path given or to ``docs/published-numbers.md``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    path = Path(given[0]) if given else DEFAULT_PATH
    fits = fit_all_published()
    with atomic_write(path, "w") as stream:
        stream.write(to_markdown(compare(fits), fits))


if __name__ == "__main__":
    main()
