"""Reading and checking the record of one computed material."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from optiscale.errors import UserError
from optiscale.spectra.gpaw_recipe import roughness

N_OMEGA = 2001
ENERGIES = np.linspace(0.0, 20.0, N_OMEGA)
"""Energy grid of every record, eV, shape (2001,)."""

_SHAPES: dict[str, tuple[int | None, ...]] = {
    "cell": (3, 3),
    "numbers": (None,),
    "positions": (None, 3),
    "eps_inter": (3, N_OMEGA),
    "omega_D2": (3, 3),
}
_PROVENANCE = (
    "gpaw", "recipe_version", "plan", "volume_scale", "kpts", "kpts_scf", "nbands", "emax", "energy", "wall_s", "cpu_s",
    "mesh_change", "omega_D_change",
)  # fmt: skip
# Absorption of a passive medium is not negative; the response code's noise is.
_EPS2_MIN = -1e-3

ROUGHNESS_MAX = 0.08
"""A rougher spectrum (`gpaw_recipe.roughness`) shows the k mesh, unless a second mesh agrees."""
MESH_CHANGE_MAX = 0.2
"""Largest relative L1 difference of omega Im eps from the half as dense mesh of a spectrum that is not flagged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One material with its spectrum.

    Attributes
    ----------
    id
        Name of the material, such as ``B2_Zn-Tl``.
    prototype
        Name of the structure type.
    atoms
        The crystal, lengths in Å.
    eps_inter
        Interband dielectric function averaged over the three directions, (2001,) complex64, on `ENERGIES`.
    omega_D
        Drude frequency in eV, the root mean square over the three directions.
    omega_D2
        Squared plasma-frequency tensor, (3, 3), eV^2.
    provenance
        How it was made: engine version, recipe version, meshes, bands, wall time; plain numbers, strings and lists.
        Records of recipe version 1 lack some entries. How far the k mesh can be trusted: ``roughness`` and the flag
        ``coarse_mesh``; where the recipe took a second, denser mesh, ``mesh_change`` and ``omega_D_change`` (eV) are
        the differences between the two.
    """

    id: str
    prototype: str
    atoms: Atoms
    eps_inter: np.ndarray
    omega_D: float  # noqa: N815
    omega_D2: np.ndarray  # noqa: N815
    provenance: dict[str, Any]


def read_record(path: Path) -> Record:
    """Read one record written by ``gpaw_recipe.py`` and check it.

    Parameters
    ----------
    path
        An ``<id>.npz`` file.

    Returns
    -------
    Record

    Raises
    ------
    UserError
        If the file is missing, truncated or foreign, a field is missing or has another shape, a number is not finite,
        the absorption is negative beyond noise, or the plasma-frequency tensor has a negative trace.
    """
    path = Path(path)
    fields = _load(path)
    for name, shape in _SHAPES.items():
        _check_field(path, name, fields, shape)
    if len(fields["numbers"]) != len(fields["positions"]):
        raise _bad(path, f"{len(fields['numbers'])} atomic numbers but {len(fields['positions'])} positions")
    if "prototype" not in fields:
        raise _bad(path, "field 'prototype' is missing")

    eps_inter = fields["eps_inter"].mean(axis=0).astype(np.complex64)
    if (lowest := float(eps_inter.imag.min())) < _EPS2_MIN:
        raise _bad(path, f"Im eps_inter falls to {lowest:.3g}, below {_EPS2_MIN}")
    omega_D_squared = float(np.trace(fields["omega_D2"]) / 3)
    if omega_D_squared < 0:
        raise _bad(path, f"omega_D2 has the negative trace {3 * omega_D_squared:.3g}")

    return Record(
        id=path.stem,
        prototype=str(fields["prototype"]),
        atoms=Atoms(numbers=fields["numbers"], positions=fields["positions"], cell=fields["cell"], pbc=True),
        eps_inter=eps_inter,
        omega_D=float(np.sqrt(omega_D_squared)),
        omega_D2=fields["omega_D2"],
        # The first records carry no recipe version; they are version 1.
        provenance=_judge_mesh(
            eps_inter,
            {"recipe_version": 1} | {name: fields[name].tolist() for name in _PROVENANCE if name in fields},
        ),
    )


def _judge_mesh(eps_inter: np.ndarray, provenance: dict[str, Any]) -> dict[str, Any]:
    """Add to a provenance how rough the spectrum is, and whether its k mesh is too coarse for it."""
    rough = roughness(eps_inter)
    judge, limit = (
        (provenance["mesh_change"], MESH_CHANGE_MAX) if "mesh_change" in provenance else (rough, ROUGHNESS_MAX)
    )
    return provenance | {"roughness": round(rough, 4), "coarse_mesh": judge > limit}


def _load(path: Path) -> dict[str, np.ndarray]:
    """Read every array of the file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such record") from None
    # A file that is cut off fails as no zip archive, in a checksum, or in the middle of an array; one that was never a
    # record gives a bare array (no .files) or a pickle, which is refused.
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, AttributeError, TypeError) as error:
        raise _bad(path, f"not a complete record ({type(error).__name__})") from error


def _check_field(path: Path, name: str, fields: dict[str, np.ndarray], shape: tuple[int | None, ...]) -> None:
    """Check presence, shape and finiteness of one field."""
    if name not in fields:
        raise _bad(path, f"field {name!r} is missing")
    value = fields[name]
    fits = value.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, value.shape, strict=True))
    if not fits:
        raise _bad(path, f"field {name!r} has shape {value.shape}, not {shape}".replace("None", "n"))
    if not np.isfinite(value).all():
        raise _bad(path, f"field {name!r} holds a number that is not finite")


def _bad(path: Path, what: str) -> UserError:
    return UserError(f"{path}: {what}; delete the file and compute it again")
