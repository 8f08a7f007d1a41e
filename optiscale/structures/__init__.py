"""Crystals to compute: prototypes, elemental volumes, the plan."""

from optiscale.structures.crystal import build_crystal
from optiscale.structures.plan import INTERMETALLICS, MaterialPlan, PlannedMaterial, plan_materials
from optiscale.structures.prototypes import PROTOTYPES, Prototype
from optiscale.structures.volumes import ATOMIC_VOLUMES

__all__ = [
    "ATOMIC_VOLUMES",
    "INTERMETALLICS",
    "PROTOTYPES",
    "MaterialPlan",
    "PlannedMaterial",
    "Prototype",
    "build_crystal",
    "plan_materials",
]
