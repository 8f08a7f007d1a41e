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

_KIND = {(0, 0): 0, (0, 1): 1, (1, 1): 2, (0, 2): 3, (1, 2): 4, (2, 2): 5}
_SHELL_PAIRS = ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2))
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


def bond_integrals(first: Species, second: Species, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bond integrals of pairs of atoms, H in eV and S, each (P, 14) in the order of `INTEGRALS`."""
    cutoff = 0.5 * (first.cutoff + second.cutoff)
    window = smooth_cutoff(distance, _CUTOFF_START * cutoff, cutoff)[:, None]
    hamiltonian, overlap = [], []
    for a, b in _SHELL_PAIRS:
        kind = _KIND[min(a, b), max(a, b)]
        bare, kinetic = shell_integrals(
            distance, a, first.principal[:, a], first.exponent[:, a], b, second.principal[:, b], second.exponent[:, b]
        )
        level = 0.5 * (first.onsite[:, a] + second.onsite[:, b] - first.kappa[:, kind] - second.kappa[:, kind])
        factor = 0.5 * (first.kinetic[:, kind] + second.kinetic[:, kind])
        hamiltonian.append(window * (level[:, None] * bare + factor[:, None] * kinetic))
        overlap.append(window * bare)
    return torch.cat(hamiltonian, 1), torch.cat(overlap, 1)
