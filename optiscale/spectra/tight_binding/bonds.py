"""The model: Hamiltonian and overlap between two shells from the parameters of their two elements.

For shells a on atom i and b on atom j at distance R,

    S = f(R) <a|b>,    H = f(R) [(h_a + h_b) / 2 - kappa] <a|b> + f(R) lambda <a|T|b>

with Slater-type orbitals, T the kinetic energy, f a smooth cutoff, and kappa, lambda the means of the two elements'
values for the kind of the pair (ss, sp, pp, sd, pd, dd). Lambda = 0 is extended Hückel theory (Wolfsberg and Helmholz,
J. Chem. Phys. 20, 837, 1952; Hoffmann, J. Chem. Phys. 39, 1397, 1963) in a form that does not depend on the zero of
energy; lambda = 1 and a constant first bracket are free electrons in a box of that depth.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from optiscale.spectra.tight_binding.radial import shell_integrals, smooth_cutoff

KINDS = ("ss", "sp", "pp", "sd", "pd", "dd")
"""Kinds of shell pairs, the order of kappa and lambda."""

SHELL_PAIRS = ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2))
_EACH = [(a, b) for a, b in SHELL_PAIRS for _ in range(min(a, b) + 1)]  # sigma, pi, delta as far as both have them
FIRST = torch.tensor([a for a, _ in _EACH])
SECOND = torch.tensor([b for _, b in _EACH])
KIND = torch.tensor([KINDS.index("spd"[min(pair)] + "spd"[max(pair)]) for pair in _EACH])
"""Shell of the first atom, of the second, and kind of each of the 14 bond integrals."""

_NAMES = [f"{a}{b}{_EACH[:place].count((a, b))}" for place, (a, b) in enumerate(_EACH)]
SWAPPED = torch.tensor([_NAMES.index(name[1] + name[0] + name[2]) for name in _NAMES])
PARITY = torch.tensor([(-1.0) ** (a + b) for a, b in _EACH], dtype=torch.float64)
"""Place of each bond integral in the pair seen from the other atom, and its sign there."""

_CUTOFF_START = 0.75  # of the cutoff


@dataclass(frozen=True)
class Species:
    """Parameters of elements as tensors, one row an element (or an atom of a pair).

    Attributes
    ----------
    principal, onsite, exponent
        (P, 3) for s, p, d: principal quantum number, level in eV, exponent in 1/Å.
    kappa, kinetic
        (P, 6) in the order of `KINDS`: eV, and a pure number.
    cutoff
        (P,) Å.
    """

    principal: Tensor
    onsite: Tensor
    exponent: Tensor
    kappa: Tensor
    kinetic: Tensor
    cutoff: Tensor

    def __getitem__(self, rows: Tensor) -> Species:
        return Species(*(getattr(self, field.name)[rows] for field in fields(self)))


def bare_integrals(
    first: Species, second: Species, zeta_i: Tensor, zeta_j: Tensor, distance: Tensor
) -> tuple[Tensor, Tensor]:
    """Return f <a|b> and f <a|T|b> (eV) of pairs, (P, 14) each, for the exponents (P, 3) given."""
    cutoff = 0.5 * (first.cutoff + second.cutoff)
    window = smooth_cutoff(distance, _CUTOFF_START * cutoff, cutoff)[:, None]
    a, b = (list(column) for column in zip(*SHELL_PAIRS, strict=True))
    overlap, kinetic = shell_integrals(
        distance, SHELL_PAIRS, first.principal[:, a], zeta_i[:, a], second.principal[:, b], zeta_j[:, b]
    )
    return window * overlap, window * kinetic


def weights(first: Species, second: Species) -> tuple[Tensor, Tensor]:
    """Return the factors (P, 14) of <a|b> (eV) and <a|T|b> in H."""
    level = 0.5 * (first.onsite[:, FIRST] + second.onsite[:, SECOND] - (first.kappa + second.kappa)[:, KIND])
    return level, 0.5 * (first.kinetic + second.kinetic)[:, KIND]


def bond_integrals(first: Species, second: Species, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bond integrals of pairs of atoms, H in eV and S, each (P, 14) in the order of `INTEGRALS`."""
    overlap, kinetic = bare_integrals(first, second, first.exponent, second.exponent, distance)
    level, factor = weights(first, second)
    return level * overlap + factor * kinetic, overlap
