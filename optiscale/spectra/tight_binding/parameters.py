"""The table of parameters: one JSON file, read strictly."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from optiscale.errors import UserError
from optiscale.io import read_json, write_json

SCHEMA = "optiscale-tight-binding/1"
_LENGTHS = {"principal": 3, "onsite": 3, "exponent": 3, "kappa": 6, "kinetic": 6, "dipole": 2}


@dataclass(frozen=True, kw_only=True)
class ElementParameters:
    """Parameters of one element; `Species` in `bonds` says how they enter.

    Attributes
    ----------
    n_valence
        Electrons that the model holds; deeper shells are core.
    cutoff
        Range of its orbitals, Å; a pair takes the mean of its two.
    principal, onsite, exponent
        For s, p, d: principal quantum number, level (eV from the element's Fermi level), exponent (1/Å).
    kappa, kinetic
        For ss, sp, pp, sd, pd, dd: eV, and a pure number.
    dipole
        On-site dipole lengths s-p and p-d, Å.
    """

    n_valence: int
    cutoff: float
    principal: tuple[int, ...]
    onsite: tuple[float, ...]
    exponent: tuple[float, ...]
    kappa: tuple[float, ...]
    kinetic: tuple[float, ...]
    dipole: tuple[float, ...]


def parameter_file() -> Path:
    """Return the path of the fitted table inside the package."""
    with as_file(files("optiscale.spectra.tight_binding") / "parameters.json") as path:
        return path


def read_parameters(path: Path | None = None) -> dict[str, ElementParameters]:
    """Read a table of parameters (the fitted one by default).

    Raises
    ------
    UserError
        If the file is missing, is not JSON, is not such a table, or holds a value that the model cannot take.
    """
    path = path or parameter_file()
    remedy = "install the package again, or fit a new table with python -m optiscale.spectra.tight_binding.fit"
    try:
        table = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable table of parameters ({error}); {remedy}") from error
    if not isinstance(table, dict) or table.get("schema") != SCHEMA or not isinstance(table.get("elements"), dict):
        raise UserError(f"{path}: not a table of tight-binding parameters ({SCHEMA}); {remedy}")
    return {symbol: _element(path, symbol, entry) for symbol, entry in table["elements"].items()}


def _element(path: Path, symbol: str, entry: Any) -> ElementParameters:
    if symbol not in atomic_numbers or not isinstance(entry, dict):
        raise UserError(f"{path}: {symbol!r} is not an element with parameters; remove the entry")
    values: dict[str, Any] = {}
    for field in fields(ElementParameters):
        value = entry.get(field.name)
        numbers = value if field.name in _LENGTHS else [value]
        if not isinstance(numbers, list) or len(numbers) != _LENGTHS.get(field.name, 1):
            raise UserError(f"{path}: {symbol}.{field.name} must be {_LENGTHS.get(field.name, 1)} numbers, not {value}")
        if not all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in numbers):
            raise UserError(f"{path}: {symbol}.{field.name} must be finite numbers, not {value}")
        values[field.name] = tuple(numbers) if field.name in _LENGTHS else value
    element = ElementParameters(**values)
    if element.cutoff <= 0 or element.n_valence <= 0 or min(element.exponent) <= 0:
        raise UserError(f"{path}: {symbol}: n_valence, cutoff and exponents must be above 0")
    if any(n != int(n) or not shell < n <= 7 for shell, n in enumerate(element.principal)):
        raise UserError(f"{path}: {symbol}.principal must be whole numbers above 0, 1, 2 and up to 7")
    return element


def write_parameters(
    path: Path,
    elements: dict[str, ElementParameters],
    *,
    provenance: dict[str, Any],
    residuals: dict[str, dict[str, float]] | None = None,
) -> None:
    """Write a table of parameters, atomically, rounded to five decimals; `residuals` go beside the parameters."""
    entries: dict[str, Any] = {}
    for symbol, element in elements.items():
        entry = {
            name: [round(x, 5) for x in value] if isinstance(value, tuple) else value
            for name, value in asdict(element).items()
        }
        entries[symbol] = entry | {"residual": (residuals or {}).get(symbol, {})}
    write_json(path, {"schema": SCHEMA, "provenance": provenance, "elements": entries})
