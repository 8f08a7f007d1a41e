"""The published data set in numbers (arXiv:2602.05702): a plan stands on them before the data are at hand."""

from __future__ import annotations

from optiscale.dataset import EnergyGrid, Manifest, Scalar
from optiscale.dataset.schema import SCHEMA_VERSION

#: the published data set's targets (arXiv:2602.05702)
MANIFEST = Manifest(
    schema_version=SCHEMA_VERSION,
    name="published",
    source="",
    seed=None,
    n_materials=201_361,
    n_atoms=0,
    energy=EnergyGrid(start=0.0, stop=20.0, n=2001),
    components=("re", "im"),
    scalars=(Scalar(name="omega_D", unit="eV"),),
    units={},
    provenance={},
    build_key={},
    versions={},
    content={},
    files={},
)
#: materials in the published validation part
N_VALIDATION = 20_179
#: of a crystal of the published data set
STATISTICS = {"atoms": 5.9, "edges": 185.0, "angles": 644.0}
#: where rates come from that such graphs gave
SOURCE = "random graphs"
