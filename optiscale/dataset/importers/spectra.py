"""Spectra out of the tables that people have: CSV, Parquet, NPZ."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from optiscale.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

#: h c in eV nm and in eV cm (CODATA 2018, exact)
EV_NM = 1239.841984332
EV_CM = 1.239841984332e-4
UNITS = ("eV", "cm-1", "nm")
KINDS = "give .csv or .parquet (id, energy, re, im; or id and a column an energy) or .npz (id, energy, re, im)"


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One material's spectrum: `energy` (n,), ascending, and `y` (n, C)."""

    energy: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, eq=False)
class Spectra:
    """Spectra by id, with the names of their C components."""

    components: tuple[str, ...]
    by_id: Mapping[str, Spectrum]


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet file; `id` is text.

    Raises
    ------
    UserError
        If it is missing, unreadable or empty, or has no column `id`.
    """
    import pandas as pd
    import pyarrow as pa

    if not path.is_file():
        raise UserError(f"{path}: no such file; {KINDS}")
    try:
        # as they are written: "NaN" is a formula, too
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, converters={"id": str})
    except (OSError, ValueError, pa.ArrowException) as error:  # pandas' parser errors are ValueErrors
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a readable table ({reason}); {KINDS}") from error
    if table.index.name == "id":  # as pandas writes a Parquet file of a frame with that index
        table = table.reset_index()
    if "id" not in table:
        raise UserError(f"{path}: no column 'id'; add one that names the material, as in the structures")
    if table.empty:
        raise UserError(f"{path}: no rows; add some")
    nameless = np.flatnonzero(table["id"].isna() | (table["id"] == ""))
    if len(nameless):
        raise UserError(f"{path}: row {nameless[0] + 1} has no id; name its material")
    return table.astype({"id": str})


def read_spectra(paths: Sequence[Path], *, unit: str = "eV") -> Spectra:
    """Read the spectra of one file, or of one file a component.

    Parameters
    ----------
    paths
        Each a long table (`id`, `energy`, a column a component), a table with a list in every cell of `energy` and of
        the components, a wide one (`id`, then a column an energy; the file's name is the component's), or an NPZ.
    unit
        Of the energies: "eV", "cm-1" or "nm".

    Raises
    ------
    UserError
        If a file is unreadable or of no known form, an id occurs twice, or the files' ids or energies differ.
    """
    parts = [_read_npz(path) if path.suffix == ".npz" else _read_tabular(path) for path in paths]
    first = parts[0]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        if different := sorted(set(first.by_id) ^ set(part.by_id)):
            raise UserError(f"{path}: {different[0]} is in one file of spectra only; give every component of each")
        for name, spectrum in part.by_id.items():
            if not np.array_equal(spectrum.energy, first.by_id[name].energy):
                raise UserError(f"{path}: {name} has other energies than in {paths[0]}; give all components the same")
    components = tuple(name for part in parts for name in part.components)
    if len(set(components)) < len(components):
        raise UserError(f"{paths[-1]}: a component is given twice ({', '.join(components)}); rename the file or column")
    return Spectra(components, _in_electron_volts(parts, unit))


def to_electron_volts(values: np.ndarray, unit: str) -> np.ndarray:
    """Convert photon energies ("eV"), wavenumbers ("cm-1") or vacuum wavelengths ("nm") to eV.

    Raises
    ------
    UserError
        For another unit, or a wavelength that is not above 0.
    """
    if unit == "eV":
        return values
    if unit == "cm-1":
        return values * EV_CM
    if unit != "nm":
        raise UserError(f"--energy-unit {unit}: unknown; use one of {', '.join(UNITS)}")
    if not (values > 0).all():
        raise UserError("--energy-unit nm: a wavelength is 0 or less; name the unit that the file has")
    return EV_NM / values


def _in_electron_volts(parts: Sequence[Spectra], unit: str) -> dict[str, Spectrum]:
    converted: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # a shared grid is sorted once, and stays shared
    result = {}
    for name, spectrum in parts[0].by_id.items():
        if id(spectrum.energy) not in converted:
            energy = to_electron_volts(np.asarray(spectrum.energy, dtype=np.float64), unit)
            order = np.argsort(energy, kind="stable")
            if not (np.isfinite(energy).all() and (np.diff(energy[order]) > 0).all()):
                raise UserError(f"{name}: an energy is missing or occurs twice in its spectrum; give each once")
            converted[id(spectrum.energy)] = energy[order], order
        energy, order = converted[id(spectrum.energy)]
        result[name] = Spectrum(energy, np.concatenate([part.by_id[name].y for part in parts], axis=-1)[order])
    return result


def _read_tabular(path: Path) -> Spectra:
    import pandas as pd

    table = read_table(path)
    others = [str(name) for name in table.columns if name != "id"]
    if "energy" not in others:
        return _wide(table, others, path)
    components = tuple(name for name in others if name != "energy")
    if not components:
        raise UserError(f"{path}: only id and energy; add a column for each component, such as re and im")
    if len(table) and isinstance(table["energy"].iloc[0], list | np.ndarray):
        return _lists(table, components, path)
    if wrong := [name for name in others if not pd.api.types.is_numeric_dtype(table[name])]:
        raise UserError(f"{path}: column {wrong[0]!r} is not of numbers; remove it or mend its values")
    by_id = {}
    for name, rows in table.groupby("id", sort=False):
        by_id[str(name)] = Spectrum(rows["energy"].to_numpy(), rows[list(components)].to_numpy())
    return Spectra(components, _share_grid(by_id))


def _lists(table: pd.DataFrame, components: tuple[str, ...], path: Path) -> Spectra:
    _refuse_doubled(list(table["id"]), path)
    by_id = {}
    for row in table.to_dict("records"):
        try:
            energy = np.asarray(row["energy"], dtype=float)
            values = np.stack([np.asarray(row[name], dtype=float) for name in components], axis=-1)
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: {row['id']}: the lists differ in length or hold no numbers; mend them") from error
        if values.shape != (len(energy), len(components)):
            raise UserError(f"{path}: {row['id']}: {len(values)} values for {len(energy)} energies; mend the lists")
        by_id[row["id"]] = Spectrum(energy, values)
    return Spectra(components, _share_grid(by_id))


def _wide(table: pd.DataFrame, columns: list[str], path: Path) -> Spectra:
    try:
        energy = np.array([float(name) for name in columns])
        values = table[columns].to_numpy(dtype=float)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: neither a column 'energy' nor one column an energy ({error}); {KINDS}") from error
    _refuse_doubled(list(table["id"]), path)
    by_id = {name: Spectrum(energy, row[:, None]) for name, row in zip(table["id"], values, strict=True)}
    return Spectra((path.stem,), by_id)


def _read_npz(path: Path) -> Spectra:
    if not path.is_file():
        raise UserError(f"{path}: no such file; {KINDS}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a readable NPZ of plain arrays ({reason}); write it with np.savez") from error
    if missing := [name for name in ("id", "energy") if name not in arrays]:
        raise UserError(f"{path}: array {missing[0]!r} is missing; {KINDS}")
    ids, energy = [str(name) for name in arrays.pop("id")], arrays.pop("energy")
    _refuse_doubled(ids, path)
    if not ids or energy.ndim not in (1, 2):
        raise UserError(f"{path}: {len(ids)} ids and energies of shape {energy.shape}; {KINDS}")
    shape = (len(ids), energy.shape[-1])
    named: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.shape != shape:
            raise UserError(f"{path}: {name} has shape {array.shape}, not {shape} (ids, energies); mend the array")
        if np.iscomplexobj(array):
            prefix = "" if name == "eps" else f"{name}_"
            named |= {f"{prefix}re": array.real, f"{prefix}im": array.imag}
        else:
            named[name] = array
    if not named or energy.shape not in (shape, shape[1:]):
        raise UserError(f"{path}: no spectra, or energies {energy.shape} that are not {shape[1:]} or {shape}; {KINDS}")
    values = np.stack(list(named.values()), axis=-1)
    energies = energy if energy.ndim == 2 else [energy] * len(ids)
    by_id = {name: Spectrum(e, value) for name, e, value in zip(ids, energies, values, strict=True)}
    return Spectra(tuple(named), _share_grid(by_id))


def _share_grid(by_id: dict[str, Spectrum]) -> dict[str, Spectrum]:
    """Let equal energies be one array, so that later they are compared and sorted once."""
    shared: list[np.ndarray] = []
    result = {}
    for name, spectrum in by_id.items():
        same = next((energy for energy in shared[:4] if np.array_equal(energy, spectrum.energy)), spectrum.energy)
        if same is spectrum.energy:
            shared.append(same)
        result[name] = Spectrum(same, spectrum.y)
    return result


def _refuse_doubled(ids: list[str], path: Path) -> None:
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise UserError(f"{path}: {name} occurs twice; keep one")
        seen.add(name)
