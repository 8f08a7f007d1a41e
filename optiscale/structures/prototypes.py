"""Structure prototypes as data."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Prototype:
    """An ordered structure type with all coordinates fixed.

    Attributes
    ----------
    name
        Strukturbericht symbol.
    space_group
        Number in the International Tables.
    sites
        Fractional coordinates of one representative of each orbit, conventional cell.
    labels
        For each orbit the place of its element in the formula: ``"A"`` is the first element, ``"B"`` the second.
    c_over_a
        Ratio of the conventional lattice constants c and a (a = b, all angles 90 degrees).
    example
        A compound that crystallizes in this type.
    """

    name: str
    space_group: int
    sites: tuple[tuple[float, float, float], ...]
    labels: str
    c_over_a: float
    example: str

    @property
    def n_elements(self) -> int:
        """Number of different elements."""
        return len(set(self.labels))


_TYPES = (
    Prototype(
        name="B2", space_group=221, sites=((0, 0, 0), (0.5, 0.5, 0.5)), labels="AB", c_over_a=1.0, example="NiAl"
    ),
    # Two-atom tetragonal cell of L1_0; c/a = 1.36 of this cell is 0.96 of the face-centred one.
    Prototype(
        name="L1_0", space_group=123, sites=((0, 0, 0), (0.5, 0.5, 0.5)), labels="AB", c_over_a=1.36, example="TiAl"
    ),
    Prototype(
        name="C1_b",
        space_group=216,
        sites=((0, 0, 0), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        labels="ABC",
        c_over_a=1.0,
        example="NiMnSb",
    ),
    Prototype(
        name="C11_b", space_group=139, sites=((0, 0, 0), (0, 0, 0.333)), labels="AB", c_over_a=3.2, example="MoSi2"
    ),
    Prototype(
        name="L1_2", space_group=221, sites=((0, 0, 0), (0, 0.5, 0.5)), labels="AB", c_over_a=1.0, example="AuCu3"
    ),
    Prototype(
        name="L2_1",
        space_group=225,
        sites=((0, 0, 0), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        labels="ABC",
        c_over_a=1.0,
        example="Cu2MnAl",
    ),
)

PROTOTYPES = MappingProxyType({prototype.name: prototype for prototype in _TYPES})
"""Every known prototype by name."""
