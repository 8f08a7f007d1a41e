"""Crystals out of the files that people have: extxyz, ASE databases, CIF folders, pymatgen JSON."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optiscale.dataset.importers.crystal import Crystal, crystal_from_atoms, crystal_from_dict
from optiscale.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

#: what ASE raises for a broken frame; its own XYZError is an OSError
_BROKEN_FRAME = (OSError, KeyError, ValueError, IndexError, StopIteration, RuntimeError, TypeError)
#: fields that name a material, the first that is there
ID_FIELDS = ("id", "material_id")
#: an id and its crystal, or why it is no use
Found = tuple[str, "Crystal | UserError"]
KINDS = "give .extxyz or .xyz, an ASE database (.db or .json), a .cif file or a folder of them, or pymatgen's .json"


def read_structures(path: Path) -> Iterator[Found]:
    """Yield the crystals of a file or folder in their order; the error of a bad one stands in its place.

    A crystal is named by its field `id` or `material_id`, its key in a JSON mapping, its CIF file, or else its place
    in the file: the frame (from 0) or the row of an ASE database (from 1).

    Raises
    ------
    UserError
        If the file is missing, of no known kind or unreadable as a whole.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; {KINDS}")
    if path.is_dir() or path.suffix == ".cif":
        yield from _cif(path)
    elif path.suffix in (".extxyz", ".xyz"):
        yield from _extxyz(path)
    elif path.suffix == ".db":
        yield from _ase_database(path)
    elif path.name.endswith((".json", ".json.gz")):
        yield from _json(path)
    else:
        raise UserError(f"{path}: structures of no known kind; {KINDS}")


def _extxyz(path: Path) -> Iterator[Found]:
    for place, lines in enumerate(_frames(path)):
        try:
            atoms = _read_frame("".join(lines))
        except _BROKEN_FRAME as error:
            reason = " ".join(str(error).split())
            yield (
                str(place),
                UserError(f"{path}: frame {place} is not readable extended XYZ ({reason}); write it with ase.io.write"),
            )
            continue
        yield _from_atoms(atoms, atoms.info, default=str(place))


def _frames(path: Path) -> Iterator[list[str]]:
    """Yield the lines of each frame; a broken one leaves the others readable as long as the numbers of atoms are."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        for place in itertools.count():
            while (first := stream.readline()) and not first.strip():
                pass  # empty lines between frames and at the end
            if not first:
                return
            if not first.strip().isdigit():
                raise UserError(
                    f"{path}: frame {place} begins with {first.strip()[:40]!r}, not with its number of atoms; "
                    "write the file with ase.io.write"
                )
            yield [first, *itertools.islice(stream, 1 + int(first))]


def _read_frame(text: str) -> Atoms:
    from ase.io import read

    return read(io.StringIO(text), format="extxyz")


def _ase_database(path: Path) -> Iterator[Found]:
    from ase.db import connect

    try:
        for row in connect(path, use_lock_file=False).select():
            yield _from_atoms(row.toatoms(), row.key_value_pairs, default=str(row.id))
    except (sqlite3.DatabaseError, OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a readable ASE database ({reason}); write it with ase.db.connect") from error


def _from_atoms(atoms: Atoms, fields: dict[str, Any], *, default: str) -> Found:
    name = _name(fields, default=default)
    return name, crystal_from_atoms(atoms, name=name, fields=fields)


def _cif(path: Path) -> Iterator[Found]:
    files = sorted(path.glob("*.cif")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path}: no .cif files here; {KINDS}")
    for file in files:
        try:
            yield file.stem, _read_cif(file)
        except UserError as error:
            yield file.stem, error


def _read_cif(file: Path) -> Crystal:
    from pymatgen.io.cif import CifParser

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rounding of coordinates and the like; what is wrong is checked later
            structure = CifParser(file).parse_structures(primitive=False)[0]
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, AssertionError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: not a readable CIF of one crystal ({reason}); mend or remove the file") from error
    if not structure.is_ordered:
        raise UserError(f"{file}: a site is shared or partly occupied; give an ordered crystal")
    return Crystal(
        id=file.stem,
        lattice=structure.lattice.matrix.copy(),
        atomic_number=structure.atomic_numbers,
        position=structure.cart_coords,
    )


def _json(path: Path) -> Iterator[Found]:
    content = _load(path)
    if isinstance(content, dict) and "ids" in content and "nextid" in content:
        yield from _ase_database(path)
        return
    if isinstance(content, list):
        named = [(_name(one, default=str(place)), one) for place, one in enumerate(content)]
    elif isinstance(content, dict) and "lattice" in content:
        named = [(_name(content, default=path.stem), content)]
    elif isinstance(content, dict):
        named = [(str(key), one) for key, one in content.items()]
    else:
        raise UserError(f"{path}: not structures; give a pymatgen Structure dictionary, a list or a mapping of them")
    for name, one in named:
        try:
            yield name, crystal_from_dict(one, name=name, fields=one if isinstance(one, dict) else {})
        except UserError as error:
            yield name, UserError(f"{path}: {error}")


def _name(fields: Any, *, default: str) -> str:
    if not isinstance(fields, dict):
        return default
    return next((str(fields[key]) for key in ID_FIELDS if key in fields), default)


def _load(path: Path) -> Any:
    try:
        content = path.read_bytes()
        return json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable JSON ({reason}); write it with json.dump") from error
