"""Crystals to measure with: real structure types by substitution, random causal spectra."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from optiscale.dataset import DatasetInfo, DatasetWriter, EnergyGrid, Material, OpticalDataset, Scalar
from optiscale.dataset.schema import MANIFEST
from optiscale.structures.substitution import SubstitutionPlan, build_substituted, decorations

_SCALES = (0.985, 0.99, 0.995, 1.0, 1.005, 1.01, 1.015, 1.02)
ENERGY = EnergyGrid(start=0.0, stop=20.0, n=2001)


def bench_dataset(folder: Path, n: int, *, rattle: float = 0.0) -> OpticalDataset:
    """Write a data set of `n` crystals with the published distribution of site counts, or open it.

    Structures are those of the tight-binding source (`SubstitutionPlan`). Spectra are of one random oscillator each:
    speed does not depend on them.

    Parameters
    ----------
    folder
        Of the data set.
    n
        Number of crystals.
    rattle
        Random displacements (Å) that leave no symmetry to use.
    """
    info = DatasetInfo(
        name="bench",
        source="substitution, random spectra",
        energy=ENERGY,
        components=("re", "im"),
        scalars=(Scalar(name="omega_D", unit="eV"),),
        build_key={"n": n, "rattle": rattle},
    )
    if (folder / MANIFEST).exists():
        return OpticalDataset(folder)
    with DatasetWriter(folder, info) as writer:
        for material in itertools.islice(_materials(rattle), writer.n_seen, n):
            writer.add(material)
        return writer.finish()


def _materials(rattle: float) -> Iterator[Material]:
    """Yield each structure at some volumes: new lengths in the same symmetry, without the cost of a new structure."""
    plan = SubstitutionPlan(seed=0, rattle=rattle)
    energies = ENERGY.values()
    for number, decoration in enumerate(decorations(plan)):
        crystal = build_substituted(plan, decoration)
        for scale in _SCALES:
            rng = np.random.default_rng([number, int(1000 * scale)])
            place, strength, width = rng.uniform(1, 12), rng.uniform(20, 200), rng.uniform(0.5, 3)
            eps = 1 + strength / (place**2 - energies**2 - 1j * width * energies)
            yield Material(
                id=f"bench{number}_{scale}",
                lattice=scale * crystal.lattice,
                atomic_number=crystal.numbers,
                position=scale * crystal.position,
                spectrum=np.stack([eps.real, eps.imag], axis=-1),
                scalars=rng.uniform(1, 12, 1),
                provenance={"number": number},
            )
