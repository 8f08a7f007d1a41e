"""Which materials are computed, and in which order."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ase import Atoms

from optiscale.errors import UserError
from optiscale.structures.crystal import build_crystal
from optiscale.structures.prototypes import PROTOTYPES
from optiscale.structures.volumes import ATOMIC_VOLUMES


@dataclass(frozen=True, kw_only=True)
class PlannedMaterial:
    """One material of a plan.

    Attributes
    ----------
    prototype
        Name in `PROTOTYPES`.
    elements
        Symbols in the order of the prototype's labels.
    volume_scale
        Volume relative to the sum of the elements' atomic volumes.
    """

    prototype: str
    elements: tuple[str, ...]
    volume_scale: float

    @property
    def id(self) -> str:
        """Name of the material and of its record, such as ``B2_Zn-Tl``."""
        return _name(self.prototype, self.elements)

    @property
    def twins(self) -> tuple[str, ...]:
        """Ids of other orders of the elements that give the same crystal, such as ``B2_Tl-Zn`` of ``B2_Zn-Tl``."""
        orders = PROTOTYPES[self.prototype].twins
        return tuple(_name(self.prototype, [self.elements["ABCD".index(label)] for label in order]) for order in orders)

    def build(self) -> Atoms:
        """Build the crystal, see `build_crystal`."""
        return build_crystal(self.prototype, self.elements, self.volume_scale)


def _name(prototype: str, elements: Sequence[str]) -> str:
    return f"{prototype}_{'-'.join(elements)}"


@dataclass(frozen=True, kw_only=True)
class MaterialPlan:
    """A named, versioned recipe for a long random sequence of materials.

    The first n materials of a plan do not depend on n, so a shelf grows along it. A change of any field is a new
    version: records made before keep their meaning.

    Attributes
    ----------
    name, version
        What records refer to.
    seed
        Of the sequence, unless another is asked for.
    elements
        Weight of each element; drawn without replacement for each material. The order matters to the sequence.
    weights
        Share of each prototype.
    volume_scale
        Range of the uniformly drawn volume factor.
    first
        Materials that come before those that are drawn.
    in_turn
        Take prototypes in turn, always the one that is furthest behind its share, and leave out materials that are the
        twin of an earlier one; otherwise prototypes are drawn at random, and twins count as different.
    """

    name: str
    version: int
    seed: int
    elements: dict[str, float]
    weights: dict[str, float]
    volume_scale: tuple[float, float]
    first: tuple[PlannedMaterial, ...] = ()
    in_turn: bool = False

    @property
    def capacity(self) -> int:
        """Number of materials that can be drawn: half of those that can be named, as rejections grow beyond."""
        return sum(self.limit(name) for name in self.weights)

    def limit(self, prototype: str) -> int:
        """Give the number of materials of a prototype that can be drawn."""
        kind = PROTOTYPES[prototype]
        orders = len(kind.twins) + 1 if self.in_turn else 1
        return math.perm(len(self.elements), kind.n_elements) // orders // 2


_LIGHT = (
    "Li", "Na", "Mg", "Al", "Ti", "V", "Cr", "Co", "Ni", "Cu", "Zn", "Ga", "Nb", "Mo", "Ru", "Rh",
    "Pd", "Ag", "Cd", "In", "Sn", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Tl", "Pb", "Be",
)  # fmt: skip

# Metals whose light pseudopotentials make a spectrum cheap, in small cells that order in nature.
INTERMETALLICS_1 = MaterialPlan(
    name="intermetallics",
    version=1,
    seed=20261122,
    elements=dict.fromkeys(_LIGHT, 1.0),
    weights={"B2": 0.38, "L1_0": 0.12, "C1_b": 0.14, "C11_b": 0.06, "L1_2": 0.14, "L2_1": 0.16},
    volume_scale=(0.96, 1.04),
)

# Semicore states and large atoms, and with them many plane waves and bands, make these several times as expensive.
_EXPENSIVE = ("K", "Ca", "Sc", "Rb", "Sr", "Y", "Zr", "Cs", "Ba", "Hf")

# Shares of the prototypes follow the cost of a material: three shares for small or highly symmetric cells, two for most
# others, one for 8 to 10 atoms with little symmetry and for the rarer structures of the elements.
_CHEAP = (
    "A1", "A2", "B1", "B2", "B32", "B_h", "L1_1", "C1", "C11_b", "C15", "C15_b", "C32", "MoSi2", "BaPtSb", "D0_3",
    "D0_22", "L6_0", "XA", "LiMgPdSn", "E2_1",
)  # fmt: skip
_RARE = (
    "A5", "A6", "A7", "A10", "A11", "A20", "A_f", "A_h", "C19", "dhcp", "omega",
    "B20", "B27", "B31", "C40", "D0_18", "D0_a", "D0_c", "TiPt8", "D1_c", "D5_a", "V4Zn5", "E1_a", "ZrNiAl", "Mo2FeB2",
)  # fmt: skip


def _material(prototype: str, elements: str, volume_scale: float = 1.0) -> PlannedMaterial:
    return PlannedMaterial(prototype=prototype, elements=tuple(elements.split("-")), volume_scale=volume_scale)


# Crystals that exist, to be compared with measurements and other codes: elements at the volumes of the table, which are
# measured ones, and compounds at the volume of the lattice constants named (Å).
_MEASURED = (
    *(_material("A1", symbol) for symbol in ("Al", "Cu", "Ag", "Au")),
    _material("B2", "Ni-Al", 0.8737),  # a = 2.887
    *(_material("A1", symbol) for symbol in ("Rh", "Pd", "Ir", "Pt", "Pb")),
    *(_material("A2", symbol) for symbol in ("Li", "Na", "V", "Nb", "Mo", "Ta", "W")),
    *(_material("A3", symbol) for symbol in ("Mg", "Be", "Ru", "Os")),
    _material("A5", "Sn"),
    _material("A6", "In"),
    _material("A7", "Sb"),
    _material("B2", "Cu-Zn", 0.9457),  # a = 2.945
    _material("B2", "Ag-Mg", 0.9007),  # a = 3.31
    _material("B2", "Co-Ti", 0.9344),  # a = 2.995
    _material("L1_2", "Al-Ni", 0.9206),  # a = 3.57
    _material("L1_2", "Au-Cu", 1.0009),  # a = 3.743
    _material("C1", "Au-Al", 1.0751),  # a = 5.997
)

# All metals of the published data set and every prototype.
INTERMETALLICS = MaterialPlan(
    name="intermetallics",
    version=2,
    seed=20261123,
    elements={symbol: 0.3 if symbol in _EXPENSIVE else 1.0 for symbol in ATOMIC_VOLUMES},
    weights={name: 3.0 if name in _CHEAP else 1.0 if name in _RARE else 2.0 for name in PROTOTYPES},
    volume_scale=(0.96, 1.04),
    first=_MEASURED,
    in_turn=True,
)


def plan_materials(
    n: int, seed: int | None = None, *, plan: MaterialPlan = INTERMETALLICS
) -> tuple[PlannedMaterial, ...]:
    """Name the first `n` materials of a plan.

    Parameters
    ----------
    n
        Number of materials.
    seed
        Of the sequence; the plan's own if None.
    plan
        What to draw from.

    Returns
    -------
    tuple of PlannedMaterial
        All different in prototype or in the elements on its sites, the same for every n: a prefix of one sequence.

    Raises
    ------
    UserError
        If `n` is negative or more than the plan can draw.
    """
    if not 0 <= n <= plan.capacity:
        raise UserError(f"n must be 0 to {plan.capacity} for plan {plan.name!r}, not {n}")
    generator = random.Random(plan.seed if seed is None else seed)  # noqa: S311 (no secrets here)
    materials = list(plan.first[:n])
    seen = {name for material in materials for name in (material.id, *material.twins)}
    counts = Counter(material.prototype for material in materials)
    while len(materials) < n:
        prototype = _next_prototype(plan, counts, generator)
        kind = PROTOTYPES[prototype]
        elements = _draw_elements(plan, kind.n_elements, generator)
        volume_scale = round(generator.uniform(*plan.volume_scale), 3)
        material = PlannedMaterial(prototype=prototype, elements=elements, volume_scale=volume_scale)
        if material.id in seen:
            continue
        seen.update((material.id, *(material.twins if plan.in_turn else ())))
        counts[prototype] += 1
        materials.append(material)
    return tuple(materials)


def _next_prototype(plan: MaterialPlan, counts: Counter[str], generator: random.Random) -> str:
    """Prototype of the next material, by lot or the one furthest behind its share."""
    if not plan.in_turn:
        return generator.choices(list(plan.weights), list(plan.weights.values()))[0]
    open_types = (name for name in plan.weights if counts[name] < plan.limit(name))
    return min(open_types, key=lambda name: (counts[name] + 0.5) / plan.weights[name])


def _draw_elements(plan: MaterialPlan, n: int, generator: random.Random) -> tuple[str, ...]:
    """Draw `n` different elements by weight."""
    symbols = list(plan.elements)
    if not plan.in_turn:  # version 1, whose elements all weigh the same
        return tuple(generator.sample(symbols, n))
    drawn: list[str] = []
    while len(drawn) < n:
        symbol = generator.choices(symbols, list(plan.elements.values()))[0]
        if symbol not in drawn:
            drawn.append(symbol)
    return tuple(drawn)
