"""Which materials are computed, and in which order."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from ase import Atoms

from optiscale.errors import UserError
from optiscale.structures.crystal import build_crystal
from optiscale.structures.prototypes import PROTOTYPES


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
        return f"{self.prototype}_{'-'.join(self.elements)}"

    def build(self) -> Atoms:
        """Build the crystal, see `build_crystal`."""
        return build_crystal(self.prototype, self.elements, self.volume_scale)


@dataclass(frozen=True, kw_only=True)
class MaterialPlan:
    """A named, versioned recipe for an endless random sequence of materials.

    The first n materials of a plan do not depend on n, so a shelf grows along it. A change of any field is a new
    version: records made before keep their meaning.

    Attributes
    ----------
    name, version
        What records refer to.
    seed
        Of the sequence, unless another is asked for.
    elements
        Drawn without replacement for each material. The order matters to the sequence.
    weights
        Probability of each prototype.
    volume_scale
        Range of the uniformly drawn volume factor.
    """

    name: str
    version: int
    seed: int
    elements: tuple[str, ...]
    weights: dict[str, float]
    volume_scale: tuple[float, float]


_ELEMENTS = (
    "Li", "Na", "Mg", "Al", "Ti", "V", "Cr", "Co", "Ni", "Cu", "Zn", "Ga", "Nb", "Mo", "Ru", "Rh",
    "Pd", "Ag", "Cd", "In", "Sn", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Tl", "Pb", "Be",
)  # fmt: skip

# Metals whose light pseudopotentials make a spectrum cheap, in small cells that order in nature.
INTERMETALLICS = MaterialPlan(
    name="intermetallics",
    version=1,
    seed=20261122,
    elements=_ELEMENTS,
    weights={"B2": 0.38, "L1_0": 0.12, "C1_b": 0.14, "C11_b": 0.06, "L1_2": 0.14, "L2_1": 0.16},
    volume_scale=(0.96, 1.04),
)


def plan_materials(
    n: int, seed: int | None = None, *, plan: MaterialPlan = INTERMETALLICS
) -> tuple[PlannedMaterial, ...]:
    """Draw the first `n` materials of a plan.

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
        If `n` is negative or beyond half of the materials that the plan can name.
    """
    capacity = sum(math.perm(len(plan.elements), PROTOTYPES[name].n_elements) for name in plan.weights)
    if not 0 <= n <= capacity // 2:  # drawing with rejection slows down near the capacity
        raise UserError(f"n must be 0 to {capacity // 2} for plan {plan.name!r}, not {n}")
    generator = random.Random(plan.seed if seed is None else seed)  # noqa: S311 (no secrets here)
    seen: set[tuple[str, tuple[str, ...]]] = set()
    materials: list[PlannedMaterial] = []
    while len(materials) < n:
        prototype = generator.choices(list(plan.weights), list(plan.weights.values()))[0]
        elements = tuple(generator.sample(plan.elements, PROTOTYPES[prototype].n_elements))
        volume_scale = round(generator.uniform(*plan.volume_scale), 3)
        if (prototype, elements) in seen:
            continue
        seen.add((prototype, elements))
        materials.append(PlannedMaterial(prototype=prototype, elements=elements, volume_scale=volume_scale))
    return tuple(materials)
