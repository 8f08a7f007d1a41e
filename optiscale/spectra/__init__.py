"""Engines that turn a crystal into its optical spectrum, and the records they leave."""

from optiscale.spectra.records import ENERGIES, Record, read_record

__all__ = ["ENERGIES", "Record", "read_record"]
