"""Volume of an element's atom in its solid, the size scale of every planned crystal."""

from __future__ import annotations

from types import MappingProxyType

# Å^3 per atom of the elemental solid: experimental lattice constants at room temperature (W. B. Pearson, A Handbook of
# Lattice Spacings and Structures of Metals, and later tables), rounded. Ti, Mn, Ga and Hg are rounded generously. A
# plan refers to these numbers, so they are facts of the plan: change one only together with the plan's version.
ATOMIC_VOLUMES = MappingProxyType(
    {
        "Li": 21.3, "Be": 8.11, "Na": 39.5, "Mg": 23.2, "Al": 16.6, "K": 75.3, "Ca": 43.6, "Sc": 25.0, "Ti": 17.65,
        "V": 13.82, "Cr": 12.0, "Mn": 12.2, "Fe": 11.8, "Co": 11.1, "Ni": 10.94, "Cu": 11.81, "Zn": 15.2, "Ga": 19.6,
        "Ge": 22.6, "Rb": 92.7, "Sr": 56.3, "Y": 33.0, "Zr": 23.3, "Nb": 18.0, "Mo": 15.58, "Ru": 13.57, "Rh": 13.75,
        "Pd": 14.72, "Ag": 17.06, "Cd": 21.58, "In": 26.16, "Sn": 27.0, "Sb": 30.0, "Cs": 115.8, "Ba": 63.0,
        "Hf": 22.3, "Ta": 18.0, "W": 15.85, "Re": 14.71, "Os": 13.99, "Ir": 14.15, "Pt": 15.1, "Au": 16.96,
        "Hg": 23.4, "Tl": 28.6, "Pb": 30.3, "Bi": 35.4,
    }
)  # fmt: skip
"""Å^3 an atom."""
