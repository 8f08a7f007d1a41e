"""One's own materials: structures, spectra and scalar targets from separate files, joined by id."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optiscale.dataset.importers.build import Outcome
from optiscale.dataset.importers.crystal import Crystal, check_crystal
from optiscale.dataset.importers.grid import INTERPOLATE, common_grid, describe, interpolate, on_grid, parse_grid
from optiscale.dataset.importers.spectra import Spectra, read_spectra, read_table
from optiscale.dataset.importers.structures import read_structures
from optiscale.dataset.schema import COLUMNS, Scalar
from optiscale.dataset.writer import DatasetInfo, Material
from optiscale.errors import UserError
from optiscale.io import file_hash, value_hash

if TYPE_CHECKING:
    import pandas as pd

#: NAME=UNIT, or NAME=UNIT:nonnegative
_SCALAR = re.compile(r"(?P<name>[^=]+)=(?P<unit>[^:]+)(?P<nonnegative>:nonnegative)?")
#: named in a message
FIRST_FEW = 3


def parse_scalar(text: str) -> Scalar:
    """Read "NAME=UNIT", or "NAME=UNIT:nonnegative" for a target that is never below zero, as omega_D always is.

    Raises
    ------
    UserError
        If it is something else.
    """
    match = _SCALAR.fullmatch(text)
    if match is None:
        raise UserError(
            f"--scalar {text}: not NAME=UNIT; for example omega_D=eV, or gap=eV:nonnegative for what is never below 0"
        )
    nonnegative = match["nonnegative"] is not None or match["name"] == "omega_D"
    return Scalar(name=match["name"], unit=match["unit"], nonnegative=nonnegative)


class OwnData:
    """Materials whose structures, spectra and scalars are matched by id.

    Parameters
    ----------
    structures
        What `read_structures` reads.
    spectra
        What `read_spectra` reads; none for a set of scalar targets only.
    scalars
        A table with `id` and the columns named in `targets`; None takes them from the structures' fields.
    targets
        The scalar targets.
    unit
        Of the spectra's energies.
    energy
        "START:STOP:N" in eV, to interpolate to; None takes the grid that the spectra share.
    name
        Of the data set.
    skip_bad
        Leave out what does not match or is no use, instead of refusing the whole.

    Raises
    ------
    UserError
        Naming file, material and remedy.
    """

    def __init__(
        self,
        structures: Path,
        spectra: Sequence[Path] = (),
        *,
        scalars: Path | None = None,
        targets: Sequence[Scalar] = (),
        unit: str = "eV",
        energy: str | None = None,
        name: str,
        skip_bad: bool = False,
    ) -> None:
        if not targets and (scalars or not spectra):
            what = f"{scalars}: no target of it is named;" if scalars else "nothing to learn; give --spectra, or"
            raise UserError(f"{what} name scalar targets with --scalar NAME=UNIT")
        if energy is not None and not spectra:
            raise UserError(f"--energy {energy}: there are no spectra; give --spectra, too")
        _check_names(targets)
        self.targets = tuple(targets)
        self.interpolates = energy is not None
        wanted = parse_grid(energy) if energy is not None else None
        self.spectra: Spectra | None = read_spectra(spectra, unit=unit) if spectra else None
        self.crystals = list(read_structures(structures))
        if not self.crystals:
            raise UserError(f"{structures}: holds no structures; add some")
        self.structures = structures
        self.table = _scalar_table(scalars) if scalars else None
        self.grid = (wanted or common_grid(self.spectra.by_id)) if self.spectra else None
        known = {name for name, _ in self.crystals}
        self._extra = [name for name in (self.spectra.by_id if self.spectra else ()) if name not in known]
        if not skip_bad:
            self._refuse_unmatched()
        files = [_stamp(path) for path in [structures, *spectra, *([scalars] if scalars else [])]]
        self.info = DatasetInfo(
            name=name,
            source="own files",
            energy=self.grid,
            components=self.spectra.components if self.spectra else (),
            scalars=self.targets,
            provenance={"files": files, "energy_unit": unit, "interpolated": self.interpolates},
            build_key={"files": files, "energy_unit": unit},
        )
        if not skip_bad:
            # before the first is written: a mended file makes another data set
            for _, outcome in self.read(0):
                if isinstance(outcome, UserError):
                    raise UserError(f"{outcome}; --skip-bad leaves it out and goes on")

    def __len__(self) -> int:
        return len(self.crystals) + len(self._extra)

    def read(self, start: int) -> Iterator[Outcome]:
        """Yield materials in the order of the structures, then an error for every spectrum without one."""
        places = {name: place for place, (name, _) in reversed(list(enumerate(self.crystals)))}
        for place, (name, crystal) in enumerate(self.crystals[start:], start=start):
            try:
                if isinstance(crystal, UserError):
                    raise crystal
                if places[name] != place:
                    raise UserError(f"{self.structures}: {name} occurs twice; give each material its own id")
                yield name, self._material(crystal)
            except UserError as error:
                yield name, error
        for name in self._extra[max(0, start - len(self.crystals)) :]:
            yield name, UserError(f"{name}: has a spectrum but no structure in {self.structures}; add it")

    def _material(self, crystal: Crystal) -> Material:
        check_crystal(crystal)
        return Material(
            id=crystal.id,
            lattice=crystal.lattice,
            atomic_number=crystal.atomic_number,
            position=crystal.position,
            spectrum=self._spectrum(crystal.id),
            scalars=np.array([self._scalar(target, crystal) for target in self.targets], dtype=float),
        )

    def _spectrum(self, name: str) -> np.ndarray | None:
        if self.spectra is None or self.grid is None:
            return None
        spectrum = self.spectra.by_id.get(name)
        if spectrum is None:
            raise UserError(f"{name}: has a structure but no spectrum; add it")
        if not self.interpolates and not on_grid(spectrum.energy, self.grid):
            raise UserError(
                f"{name}: mixed energy grids: it has {describe(spectrum.energy)}, others "
                f"{describe(self.grid.values())}; {INTERPOLATE}"
            )
        values = interpolate(spectrum, self.grid, name=name)
        if not np.isfinite(values).all():
            raise UserError(f"{name}: the spectrum has a value that is not a finite number; mend it")
        return values

    def _scalar(self, target: Scalar, crystal: Crystal) -> float:
        if self.table is not None and target.name in self.table:
            where = self.table[target.name].get(crystal.id)
        else:
            where = crystal.fields.get(target.name)
        value = _number(where)
        if not np.isfinite(value):
            raise UserError(
                f"{crystal.id}: no value of {target.name} ({where}); give it in --scalars or the structures"
            )
        if target.nonnegative and value < 0:
            raise UserError(f"{crystal.id}: {target.name} is {value:g} {target.unit}, it must be 0 or more; mend it")
        return value

    def _refuse_unmatched(self) -> None:
        broken = next((crystal for _, crystal in self.crystals if isinstance(crystal, UserError)), None)
        if broken is not None and self.spectra:
            raise broken  # one without an id matches nothing: the cause, not what follows from it
        lone = [name for name, _ in self.crystals if self.spectra and name not in self.spectra.by_id]
        parts = [
            f"{len(names)} {what} ({', '.join(names[:FIRST_FEW])}{', …' if len(names) > FIRST_FEW else ''})"
            for names, what in ((lone, "structures without a spectrum"), (self._extra, "spectra without a structure"))
            if names
        ]
        if parts:
            raise UserError(
                f"{self.structures}: {' and '.join(parts)}; match the ids, or leave them out with --skip-bad"
            )


def _check_names(targets: Sequence[Scalar]) -> None:
    names = [target.name for target in targets]
    for place, name in enumerate(names):
        if name in names[:place] or name in COLUMNS:
            raise UserError(f"--scalar {name}: the data set has a column of that name already; rename the target")


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _scalar_table(path: Path) -> pd.DataFrame:
    table = read_table(path)
    if table["id"].duplicated().any():
        raise UserError(f"{path}: {table['id'][table['id'].duplicated()].iloc[0]} occurs twice; keep one")
    return table.set_index("id")


def _stamp(path: Path) -> dict[str, str]:
    if path.is_dir():
        return {
            "name": path.name,
            "sha256": value_hash([[file.name, file_hash(file)] for file in sorted(path.glob("*.cif"))]),
        }
    return {"name": path.name, "sha256": file_hash(path)}
