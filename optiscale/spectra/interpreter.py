"""Finding the Python interpreter that has GPAW."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from optiscale.errors import UserError

RECIPE_FILE = Path(__file__).with_name("gpaw_recipe.py")
"""The program that such an interpreter runs."""

GPAW_VERSION = "22.8"
"""Later versions rewrote the response code that the recipe calls."""

_INSTALL = (
    f"install GPAW {GPAW_VERSION} (Debian 12: apt-get install gpaw gpaw-data; "
    f"conda: conda install -c conda-forge gpaw={GPAW_VERSION}) or name its interpreter with --python PATH"
)
_CHECK_SECONDS = 120


def find_gpaw(python: str | None = None) -> str:
    """Find an interpreter with a GPAW that the recipe can use.

    Parameters
    ----------
    python
        The interpreter to use; without it this one, the ``python3`` of the path and ``/usr/bin/python3`` are tried.

    Returns
    -------
    str
        The interpreter.

    Raises
    ------
    UserError
        If there is none: how to install it.
    """
    candidates = [python] if python else [sys.executable, shutil.which("python3"), "/usr/bin/python3"]
    reasons: dict[str, str] = {}
    for candidate in candidates:
        if candidate is None or candidate in reasons:
            continue
        reason = _why_not(candidate)
        if reason is None:
            return candidate
        reasons[candidate] = reason
    tried = ", ".join(f"{candidate} ({reason})" for candidate, reason in reasons.items())
    raise UserError(f"no Python with GPAW {GPAW_VERSION}: tried {tried}; {_INSTALL}")


def _why_not(python: str) -> str | None:
    """Why an interpreter cannot run the recipe; None if it can."""
    try:
        checked = subprocess.run(
            [python, str(RECIPE_FILE), "--check"], capture_output=True, text=True, check=False, timeout=_CHECK_SECONDS
        )
    except OSError as error:
        return f"does not start: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"no answer in {_CHECK_SECONDS} s"
    if checked.returncode != 0:
        return (checked.stderr.strip().splitlines() or [f"exit status {checked.returncode}"])[-1]
    try:
        version = json.loads(checked.stdout)["gpaw"]
    except (ValueError, KeyError, TypeError):
        return "is no Python"
    if not version.startswith(f"{GPAW_VERSION}."):
        return f"GPAW {version}"
    return None
