"""Crystals to compute: prototypes, elemental volumes, the plan."""

from optiscale.structures.crystal import build_crystal
from optiscale.structures.plan import INTERMETALLICS, INTERMETALLICS_1, MaterialPlan, PlannedMaterial, plan_materials
from optiscale.structures.prototypes import PROTOTYPES, Prototype
from optiscale.structures.volumes import ATOMIC_VOLUMES

__all__ = [
    "ATOMIC_VOLUMES",
    "INTERMETALLICS",
    "INTERMETALLICS_1",
    "PROTOTYPES",
    "MaterialPlan",
    "PlannedMaterial",
    "Prototype",
    "build_crystal",
    "plan_materials",
]
