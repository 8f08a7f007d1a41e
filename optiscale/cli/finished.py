"""Is a study complete? Answered from files alone, so that a second run ends at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optiscale.config import Study
from optiscale.dataset.schema import MANIFEST
from optiscale.dataset.source import EMBEDDED
from optiscale.io import FITS_SCHEMA, file_hash, read_json, value_hash, write_json

STAMP = "complete.json"


def is_complete(study: Study, folder: Path) -> bool:
    """Whether this very study ran to its end here, on the data of today, and what it made is unchanged."""
    stamp = folder / STAMP
    if not stamp.exists():
        return False
    written = read_json(stamp)
    if not all((folder / name).exists() for name in written["made"]):
        return False
    return bool(written == _fingerprint(study, folder, list(written["made"])))


def mark_complete(study: Study, folder: Path, made: Sequence[Path]) -> None:
    """Record what a complete study made."""
    write_json(folder / STAMP, _fingerprint(study, folder, [str(path.relative_to(folder)) for path in made]))


def _fingerprint(study: Study, folder: Path, made: Sequence[str]) -> dict[str, Any]:
    return {
        "study": value_hash(study.model_dump(mode="json")),
        "data": _data_hash(study.data.source),
        "fits": FITS_SCHEMA,  # those of an older version are made again
        "made": {name: file_hash(folder / name) for name in made},
    }


def _data_hash(source: str) -> str:
    if source == EMBEDDED:
        from optiscale.dataset.shelf import shelf_file

        return file_hash(shelf_file())
    manifest = Path(source) / MANIFEST
    return file_hash(manifest) if manifest.exists() else ""
