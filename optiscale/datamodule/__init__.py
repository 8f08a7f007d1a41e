"""Batches of crystals for Lightning."""

from optiscale.datamodule.module import OpticalDataModule, batches_an_epoch, rows_of, subset_rows

__all__ = ["OpticalDataModule", "batches_an_epoch", "rows_of", "subset_rows"]
