"""Structure prototypes as data.

Space groups, occupied positions, axial ratios and free coordinates are those of the named compound as the AFLOW
Encyclopedia of Crystallographic Prototypes lists them (M. J. Mehl et al., Comput. Mater. Sci. 136, S1 (2017); D. Hicks
et al., ibid. 161, S1 (2019)) unless a comment names another compound, for which they are those of P. Villars, L. D.
Calvert, Pearson's Handbook of Crystallographic Data for Intermetallic Phases (1991). ``c / a`` is written as the
quotient of the lattice constants in Å.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Prototype:
    """An ordered structure type with all coordinates fixed.

    Attributes
    ----------
    name
        Strukturbericht symbol, or the compound that the type is named after.
    space_group
        Number in the International Tables; first setting: origin choice 1, hexagonal axes.
    sites
        Fractional coordinates of one representative of each orbit, conventional cell.
    labels
        For each orbit the place of its element in the formula: ``"A"`` is the first element, ``"B"`` the second.
    c_over_a, b_over_a
        Ratios of the conventional lattice constants.
    example
        A compound that crystallizes in this type.
    twins
        Orders of the elements that give the crystal of the order A, B, C, … once more, shifted, rotated or inverted.
    volume_factor
        Volume relative to the sum of the elements' atomic volumes, which are those of mostly close-packed solids. Open
        types have more: no contact is to be shorter than 0.91 cube roots of the volume an atom.
    """

    name: str
    space_group: int
    sites: tuple[tuple[float, float, float], ...]
    labels: str
    c_over_a: float = 1.0
    b_over_a: float = 1.0
    example: str
    twins: tuple[str, ...] = ()
    volume_factor: float = 1.0

    @property
    def n_elements(self) -> int:
        """Number of different elements."""
        return len(set(self.labels))

    @property
    def cellpar(self) -> tuple[float, float, float, float, float, float]:
        """Conventional cell in units of a: 1, b / a, c / a, and the angles in degrees."""
        trigonal_or_hexagonal = 143 <= self.space_group <= 194
        return 1.0, self.b_over_a, self.c_over_a, 90.0, 90.0, 120.0 if trigonal_or_hexagonal else 90.0


_O, _Q, _H, _D = (0, 0, 0), (0.25, 0.25, 0.25), (0.5, 0.5, 0.5), (0.75, 0.75, 0.75)
_T = (1 / 3, 2 / 3, 0.25)  # site of close packing on hexagonal axes


def _type(
    name: str,
    space_group: int,
    labels: str,
    sites: tuple[tuple[float, float, float], ...],
    example: str,
    c_over_a: float = 1.0,
    b_over_a: float = 1.0,
    twins: tuple[str, ...] = (),
    volume_factor: float = 1.0,
) -> Prototype:
    """One line of the table."""
    return Prototype(
        name=name,
        space_group=space_group,
        sites=sites,
        labels=labels,
        c_over_a=c_over_a,
        b_over_a=b_over_a,
        example=example,
        twins=twins,
        volume_factor=volume_factor,
    )


# The plan of version 1 was drawn from these: records refer to their numbers, which stay as they are.
_FIRST = (
    _type("B2", 221, "AB", (_O, _H), "NiAl", twins=("BA",)),
    # Two-atom tetragonal cell of L1_0; c/a = 1.36 of this cell is 0.96 of the face-centred one.
    _type("L1_0", 123, "AB", (_O, _H), "TiAl", 1.36, twins=("BA",)),
    _type("C1_b", 216, "ABC", (_O, _H, _Q), "NiMnSb", twins=("BAC",)),
    # As in CuZr2 and PdTi2, a stack of three body-centred cubes; MoSi2 itself is below.
    _type("C11_b", 139, "AB", (_O, (0, 0, 0.333)), "PdTi2", 3.2),
    _type("L1_2", 221, "AB", (_O, (0, 0.5, 0.5)), "AuCu3"),
    _type("L2_1", 225, "ABC", (_O, _H, _Q), "Cu2MnAl", twins=("BAC",)),
)

_ELEMENTS = (
    _type("A1", 225, "A", (_O,), "Cu"),
    _type("A2", 229, "A", (_O,), "W"),
    _type("A6", 139, "A", (_O,), "In", 4.9463 / 3.2528),
    _type("A10", 166, "A", (_O,), "Hg", 6.6634 / 3.4574),
    _type("A_f", 191, "A", (_O,), "Sn0.9Hg0.1", 2.9856 / 3.2062),
    _type("A_h", 221, "A", (_O,), "Po"),
    _type("A3", 194, "A", (_T,), "Mg", 5.2106 / 3.2093),
    _type("A4", 227, "A", (_O,), "Ge", volume_factor=1.2),
    _type("A5", 141, "A", (_O,), "Sn", 3.1819 / 5.8318),
    _type("A7", 166, "A", ((0, 0, 0.2336),), "Sb", 11.273 / 4.307),  # Sb
    _type("A20", 63, "A", ((0, 0.1023, 0.25),), "U", 4.9316 / 2.8444, 5.8689 / 2.8444),
    _type("omega", 191, "AA", (_O, (1 / 3, 2 / 3, 0.5)), "Ti", 2.82 / 4.60),  # Ti under pressure
    _type("C19", 166, "AA", (_O, (0, 0, 0.2222)), "Sm", 26.2494 / 3.6204),
    _type("dhcp", 194, "AA", (_O, _T), "La", 12.13 / 3.77),  # A3'
    _type("A11", 64, "A", ((0, 0.1549, 0.081),), "Ga", 4.524 / 4.523, 7.661 / 4.523),
    _type("A15", 223, "AB", (_O, (0.25, 0, 0.5)), "Cr3Si"),
)

_EQUIATOMIC = (
    _type("B1", 225, "AB", (_O, _H), "NaCl", twins=("BA",)),
    _type("B3", 216, "AB", (_O, _Q), "AlSb", twins=("BA",), volume_factor=1.2),
    _type("B_h", 187, "AB", (_O, (1 / 3, 2 / 3, 0.5)), "LiPt", 4.226 / 2.728, twins=("BA",)),  # LiPt
    _type("L1_1", 166, "AB", (_O, (0, 0, 0.5)), "CuPt", 14.98 / 3.13, twins=("BA",)),
    _type("B8_1", 194, "AB", (_O, _T), "AuSn", 5.523 / 4.323),  # AuSn; NiAs has 1.39
    _type("B11", 129, "AB", ((0, 0.5, 0.65), (0, 0.5, 0.1)), "TiCu", 5.919 / 3.107),
    _type("B19", 51, "AB", ((0.25, 0, 0.8125), (0.25, 0.5, 0.3125)), "AuCd", 4.8546 / 4.7549, 3.1476 / 4.7549),
    _type("B32", 227, "AB", (_O, _H), "NaTl", twins=("BA",)),
    _type("B33", 63, "AB", ((0, 0.1417, 0.25), (0, 0.4182, 0.25)), "ZrNi", 4.107 / 3.271, 9.931 / 3.271),  # ZrNi
    _type("VIr", 65, "AB", ((0.28, 0, 0), (0.5, 0.72, 0.5)), "VIr", 2.796 / 5.971, 6.756 / 5.971),
    _type("B35", 191, "AAB", (_O, (1 / 3, 2 / 3, 0.5), (0.5, 0, 0)), "SnCo", 4.2597 / 5.279),
    _type("B20", 198, "AB", ((0.1365,) * 3, (0.8424,) * 3), "FeSi"),
    _type("B27", 62, "AB", ((0.18, 0.25, 0.875), (0.036, 0.25, 0.39)), "FeB", 4.053 / 5.495, 2.946 / 5.495, (), 1.2),
    _type("B31", 62, "AB", ((0.0056, 0.25, 0.1952), (0.1879, 0.25, 0.5696)), "MnP", 5.9032 / 5.2416, 3.1802 / 5.2416),
)

_ONE_TO_TWO = (
    _type("C1", 225, "AB", (_O, _Q), "AuAl2"),
    _type("C32", 191, "AB", (_O, (1 / 3, 2 / 3, 0.5)), "LaCu2", 3.82 / 4.346),  # LaCu2; AlB2 has 1.08
    _type("MoSi2", 139, "AB", (_O, (0, 0, 0.3353)), "MoSi2", 7.8449 / 3.2064),
    _type("MoPt2", 71, "AB", (_O, (0, 0, 0.3533)), "MoPt2", 8.2795 / 2.7598, 3.9303 / 2.7598),
    _type("C15", 227, "AB", (_O, (0.625, 0.625, 0.625)), "MgCu2"),
    _type("C16", 140, "AB", ((0, 0, 0.25), (0.1581, 0.6581, 0)), "CuAl2", 4.8604 / 6.0495),
    _type("C38", 129, "ABB", ((0, 0.5, 0.7), (0, 0.5, 0.27), _O), "SbCu2", 6.1043 / 4.0006),
    _type("B8_2", 194, "ABB", (_T, _O, (1 / 3, 2 / 3, 0.75)), "InNi2", 5.129 / 4.186),
    _type("CaIn2", 194, "AB", ((0, 0, 0.25), (1 / 3, 2 / 3, 0.045)), "CaIn2", 7.75 / 4.895),
    _type("C49", 63, "ABB", ((0, 0.102, 0.25), (0, 0.446, 0.25), (0, 0.75, 0.25)), "ZrSi2", 3.67 / 3.73, 14.72 / 3.73),
    _type("C54", 70, "AB", (_O, (0, 0.3365, 0)), "TiSi2", 8.5505 / 4.8, 8.2671 / 4.8),
    _type("C40", 180, "AB", ((0.5, 0, 0), (0.1656, 0.3312, 0)), "CrSi2", 6.3681 / 4.4276),
)

_ONE_TO_THREE = (
    _type("D0_3", 225, "ABB", (_O, _H, _Q), "AlFe3"),
    _type("D0_22", 139, "ABB", (_O, (0, 0, 0.5), (0, 0.5, 0.25)), "TiAl3", 8.5839 / 3.8537),
    _type("L6_0", 123, "ABB", (_O, (0.5, 0.5, 0), (0, 0.5, 0.5)), "CuTi3", 3.594 / 4.158),
    _type("L1_3", 65, "ABB", (_O, (0.5, 0, 0), (0.25, 0.25, 0.5)), "CdPt3", 2.8725 / 5.8207, 7.873 / 5.8207),
    _type("D0_19", 194, "AB", (_T, (0.8392, 0.6784, 0.25)), "SnNi3", 4.247 / 5.295),
    _type("D0_18", 194, "ABB", (_T, (0, 0, 0.25), (1 / 3, 2 / 3, 0.917)), "AsNa3", 8.982 / 5.088),
    _type(
        "D0_a", 59, "ABB", ((0, 0, 0.3288), (0.5, 0, 0.671), (0, 0.255, 0.826)), "TiCu3", 4.531 / 4.347, 5.162 / 4.347
    ),
    _type(
        "D0_23",
        139,
        "ABBB",
        ((0, 0, 0.1189), (0, 0.5, 0), (0, 0.5, 0.25), (0, 0, 0.375)),
        "ZrAl3",
        17.283 / 3.9993,
    ),
    _type("D0_c", 140, "ABB", ((0, 0.5, 0.25), (0, 0, 0.25), (0.231, 0.731, 0)), "SiU3", 8.696 / 6.029),  # U3Si
)

_RICHER = (
    _type("D1_a", 87, "AB", (_O, (0.4, 0.8, 0)), "MoNi4", 3.564 / 5.72),
    _type("D1_3", 139, "ABB", (_O, (0, 0.5, 0.25), (0, 0, 0.38)), "BaAl4", 11.1 / 4.53),
    _type("C15_b", 216, "ABB", (_O, _Q, (0.625, 0.625, 0.625)), "AuBe5"),
    _type("D2_d", 191, "ABB", (_O, (1 / 3, 2 / 3, 0), (0.5, 0, 0.5)), "CaCu5", 4.086 / 5.082),  # CaCu5
    _type("Ca7Ge", 225, "ABB", (_O, _H, (0, 0.25, 0.25)), "GeCa7"),
    _type("TiPt8", 139, "ABB", (_O, (0.333, 0.333, 0), (0.327, 0, 0)), "TiPt8", 3.897 / 8.312),
    _type(
        "D1_c",
        41,
        "ABB",
        (_O, (0.173, 0.327, 0.125), (0.327, 0.173, 0.876)),
        "PtSn4",
        11.357 / 6.388,
        6.419 / 6.388,
    ),
    _type("D5_13", 164, "ABB", ((1 / 3, 2 / 3, 0.149), _O, (1 / 3, 2 / 3, 0.648)), "Ni2Al3", 4.8906 / 4.0282),
    _type(
        "D5_a", 127, "ABB", ((0.3841, 0.8841, 0), _O, (0.1821, 0.6821, 0.5)), "Si2U3", 3.89 / 7.3364, volume_factor=1.2
    ),
    _type("Zr4Al3", 191, "ABB", ((0.5, 0, 0), (0, 0, 0.25), (1 / 3, 2 / 3, 0.5)), "Al3Zr4", 5.39 / 5.433),  # Zr4Al3
    _type("V4Zn5", 139, "ABB", ((0.348, 0, 0), _O, (0.328, 0.328, 0)), "V4Zn5", 3.22 / 8.91),
)

_TERNARY = (
    _type("XA", 216, "AABC", (_O, _Q, _H, _D), "Hg2CuTi", twins=("ACB",)),
    # Sites A, C, B, D follow each other along the body diagonal; any start and either direction give the same crystal.
    _type(
        "LiMgPdSn",
        216,
        "ABCD",
        (_O, _H, _Q, _D),
        "LiMgPdSn",
        twins=("ABDC", "BACD", "BADC", "CDAB", "CDBA", "DCAB", "DCBA"),
    ),
    _type(
        "BaPtSb", 187, "ABC", (_O, (2 / 3, 1 / 3, 0.5), (1 / 3, 2 / 3, 0.5)), "BaPtSb", 4.884 / 4.535, volume_factor=1.3
    ),
    _type("E2_1", 221, "ABC", (_O, _H, (0, 0.5, 0.5)), "CaTiO3", volume_factor=1.3),
    _type("ThCr2Si2", 139, "ABC", (_O, (0, 0.5, 0.25), (0, 0, 0.374)), "ThCr2Si2", 10.577 / 4.043),  # ThCr2Si2
    _type("BeZrSi", 194, "ABC", (_O, _T, (1 / 3, 2 / 3, 0.75)), "ZrBeSi", 7.19 / 3.71, 1.0, ("ACB",), 1.15),  # BeZrSi
    _type("CeCo3B2", 191, "ABC", (_O, (0.5, 0, 0.5), (1 / 3, 2 / 3, 0)), "CeCo3B2", 3.036 / 5.057),  # CeCo3B2
    _type("E0_1", 129, "ABC", ((0, 0.5, 0.2058), (0, 0.5, 0.6497), _O), "PbClF", 7.246 / 4.11),
    _type("HoCoGa5", 123, "ABCC", (_O, (0, 0, 0.5), (0.5, 0.5, 0), (0, 0.5, 0.312)), "HoCoGa5", 6.795 / 4.207),
    _type(
        "E1_a",
        63,
        "ABC",
        ((0, 0.072, 0.25), (0, 0.778, 0.25), (0, 0.356, 0.056)),
        "MgCuAl2",
        7.14 / 4.00,
        9.23 / 4.00,
    ),  # MgCuAl2
    _type(
        "ZrNiAl",
        189,
        "ABBC",
        ((0.591, 0, 0.5), (0, 0, 0.5), (1 / 3, 2 / 3, 0), (0.25, 0, 0)),
        "ZrNiAl",
        3.466 / 6.915,
    ),  # ZrNiAl, the ternary form of C22 (Fe2P)
    # Ternary form of D5_a, with its ratio and coordinates.
    _type(
        "Mo2FeB2",
        127,
        "ABC",
        ((0.1821, 0.6821, 0.5), _O, (0.3841, 0.8841, 0)),
        "Mo2FeB2",
        3.89 / 7.3364,
        volume_factor=1.2,
    ),
)

PROTOTYPES = MappingProxyType(
    {
        prototype.name: prototype
        for family in (_FIRST, _ELEMENTS, _EQUIATOMIC, _ONE_TO_TWO, _ONE_TO_THREE, _RICHER, _TERNARY)
        for prototype in family
    }
)
"""Every known prototype by name, of 1 to 10 atoms in the primitive cell."""
