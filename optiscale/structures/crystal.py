"""From a prototype, its elements and a volume to a crystal."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from ase.spacegroup import crystal

from optiscale.errors import UserError
from optiscale.structures.prototypes import PROTOTYPES, Prototype
from optiscale.structures.volumes import ATOMIC_VOLUMES


def build_crystal(prototype: str | Prototype, elements: Sequence[str], volume_scale: float = 1.0) -> Atoms:
    """Build the primitive cell of an ordered crystal.

    The volume is the sum of the elements' atomic volumes (a rule of additive volumes) times the prototype's
    `volume_factor` (1 but for open types) times `volume_scale`; nothing is relaxed.

    Parameters
    ----------
    prototype
        A prototype, or the name of one in `PROTOTYPES`.
    elements
        One symbol for each label of the prototype, in order A, B, C, D.
    volume_scale
        Factor on the volume, above zero.

    Returns
    -------
    Atoms
        Periodic primitive cell, lengths in Å, atoms wrapped into the cell.

    Raises
    ------
    UserError
        For an unknown prototype, a wrong number of elements, an element without a known volume, a scale not above 0.
    """
    if isinstance(prototype, str):
        if prototype not in PROTOTYPES:
            raise UserError(f"prototype {prototype!r} is unknown; use one of {', '.join(PROTOTYPES)}")
        prototype = PROTOTYPES[prototype]
    if len(elements) != prototype.n_elements:
        raise UserError(f"prototype {prototype.name} takes {prototype.n_elements} elements, not {len(elements)}")
    if unknown := [symbol for symbol in elements if symbol not in ATOMIC_VOLUMES]:
        raise UserError(f"no atomic volume is known for {', '.join(unknown)}; use one of {', '.join(ATOMIC_VOLUMES)}")
    if not volume_scale > 0:
        raise UserError(f"volume_scale must be above 0, not {volume_scale!r}")

    symbols = [elements["ABCD".index(label)] for label in prototype.labels]
    atoms = crystal(
        symbols,
        basis=prototype.sites,
        spacegroup=prototype.space_group,
        cellpar=prototype.cellpar,
        primitive_cell=True,
    )
    additive = sum(ATOMIC_VOLUMES[symbol] for symbol in atoms.get_chemical_symbols())
    volume = volume_scale * prototype.volume_factor * additive
    atoms.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    atoms.wrap()
    # A plain copy: ase leaves its Spacegroup object in atoms.info, and files cannot hold that.
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
