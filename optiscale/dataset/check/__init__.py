"""The physics of a data set: what is impossible, and what stands out."""

from optiscale.dataset.check.findings import Check, Finding, check_files, has_errors, write_report
from optiscale.dataset.check.run import check_dataset

__all__ = ["Check", "Finding", "check_dataset", "check_files", "has_errors", "write_report"]
