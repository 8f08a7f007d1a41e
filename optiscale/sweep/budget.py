"""A time budget, as a user writes it."""

from __future__ import annotations

import re

from optiscale.errors import UserError

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float:
    """Read a length of time.

    Parameters
    ----------
    text
        A positive number and its unit: ``30s``, ``90min``, ``2h``, ``1.5d``.

    Raises
    ------
    UserError
        If it is none.
    """
    found = re.fullmatch(rf"\s*(\d+(?:\.\d*)?|\.\d+)\s*({'|'.join(_UNITS)})\s*", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        raise UserError(f"--budget {text}: no length of time; write a number and s, min, h or d, such as 90min or 2h")
    return seconds
