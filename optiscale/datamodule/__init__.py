"""Batches of crystals for Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optiscale.datamodule.rows import batches_an_epoch, rows_of, subset_rows

if TYPE_CHECKING:
    from optiscale.datamodule.module import OpticalDataModule

__all__ = ["OpticalDataModule", "batches_an_epoch", "rows_of", "subset_rows"]


def __getattr__(name: str) -> Any:
    """Import what needs Lightning when it is asked for: half of the memory and start of a program that never trains."""
    if name in __all__:
        from optiscale.datamodule import module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
