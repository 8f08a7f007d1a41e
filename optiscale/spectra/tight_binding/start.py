"""Where the fit of an element begins: from its group, its period and the volume of its atom."""

from __future__ import annotations

import math

from ase.data import atomic_numbers

from optiscale.errors import UserError
from optiscale.spectra.tight_binding.parameters import ElementParameters
from optiscale.structures import ATOMIC_VOLUMES

_D_METALS = (
    ("Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"),
    ("Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd"),
    ("La", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg"),
)
_SP_METALS = (
    ("Li", "Na", "K", "Rb", "Cs"), ("Be", "Mg", "Ca", "Sr", "Ba"), ("Al", "Ga", "In", "Tl"), ("Ge", "Sn", "Pb"),
    ("Sb", "Bi"),
)  # fmt: skip

N_VALENCE: dict[str, int] = {
    **{symbol: 3 + place for row in _D_METALS for place, symbol in enumerate(row)},
    **{symbol: 1 + place for place, group in enumerate(_SP_METALS) for symbol in group},
}
"""Valence electrons of the model: d shells of groups 3 to 12 are valence, of groups 13 to 15 core."""

_CUTOFF = 2.25  # cube roots of the atomic volume: three shells of the face-centred lattice and the tail of the fourth
# Mean radius of s, p and free d orbitals over the radius of the atom's sphere.
_SPREAD = {"compact": (0.80, 0.90, 0.95), "tight": (0.67, 0.75, 0.80), "wide": (0.95, 1.05, 1.10)}
_D_SPREAD = 0.55  # of the d shell of d metals
_LOW_D = ("K", "Ca", "Rb", "Sr", "Cs", "Ba")  # their empty d bands reach the Fermi level
_LOW_D_SPREAD = 0.63
STARTS = tuple(_SPREAD)
"""Names of the starting points."""


def is_d_metal(symbol: str) -> bool:
    """Whether an element has a d shell among its valence electrons (groups 3 to 12)."""
    return any(symbol in row for row in _D_METALS)


def start_parameters(symbol: str, start: str = "compact", *, higher_p: bool = False) -> ElementParameters:
    """Start values of an element, one of `STARTS`.

    A principal quantum number of p above that of s is another shape of its tail: without it Li ends at a band RMS of
    0.28 eV instead of 0.03.

    The mean radius (2n + 1) / (2 zeta) of each Slater orbital is a fixed share of the radius of the atom's sphere;
    levels, kappa and kinetic factors are those of a free-electron metal, with a d level at E_F - 2 eV in d metals.

    Raises
    ------
    UserError
        For an element without a known volume or number of valence electrons.
    """
    if symbol not in ATOMIC_VOLUMES or symbol not in N_VALENCE:
        raise UserError(f"{symbol} has no known atomic volume; use one of {', '.join(ATOMIC_VOLUMES)}")
    volume = ATOMIC_VOLUMES[symbol]
    radius = (3 * volume / (4 * math.pi)) ** (1 / 3)
    d_metal = is_d_metal(symbol)
    period = sum(atomic_numbers[symbol] > last for last in (2, 10, 18, 36, 54)) + 1
    # Tails matter, not nodes: high quantum numbers only make orbitals stiff.
    principal = (min(period, 4), min(period, 4) + higher_p, max(3, min(period - 1, 5)))
    d_spread = _D_SPREAD if d_metal else _LOW_D_SPREAD if symbol in _LOW_D else _SPREAD[start][2]
    spread = (*_SPREAD[start][:2], d_spread)
    s_level, p_level, d_level = (-6.0, 2.0, 12.0) if start != "wide" and not d_metal else (-2.0, 5.0, 10.0)
    return ElementParameters(
        n_valence=N_VALENCE[symbol],
        cutoff=round(_CUTOFF * volume ** (1 / 3), 2),
        principal=principal,
        onsite=(s_level, p_level, -2.0 if d_metal else d_level),
        exponent=tuple((n + 0.5) / (radius * share) for n, share in zip(principal, spread, strict=True)),
        kappa=(6.0, 8.0, 10.0, 6.0, 6.0, 6.0 if d_metal else 10.0),
        kinetic=(0.7,) * 6,
        dipole=(0.0, 0.0),
    )
