"""Batches of crystals for Lightning."""

from optiscale.datamodule.module import OpticalDataModule, rows_of, subset_rows

__all__ = ["OpticalDataModule", "rows_of", "subset_rows"]
