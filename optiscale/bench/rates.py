"""What is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """Crystals a second.

    Attributes
    ----------
    train
        In training, forward, backward and update.
    validation
        In validation.
    """

    train: float
    validation: float
