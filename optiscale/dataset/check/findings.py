"""What a check says, and the report of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from optiscale.dataset.store import OpticalDataset
from optiscale.io import write_json

Severity = Literal["error", "outlier"]


@dataclass(frozen=True)
class Finding:
    """One material (or file, or composition) that a check names.

    Attributes
    ----------
    id
        What it is about.
    severity
        An error cannot be; an outlier should be looked at.
    value
        What was measured, in the unit of the check; None where there is no number.
    note
        In words.
    """

    id: str
    severity: Severity
    value: float | None
    note: str


@dataclass(frozen=True)
class Check:
    """One check of a whole data set.

    Attributes
    ----------
    name, rule
        What it is called, and what must hold, with its tolerance.
    checked
        How many materials (or files) it looked at.
    findings
        What does not hold, worst first.
    skipped
        Why the check does not apply; None where it does.
    """

    name: str
    rule: str
    checked: int
    findings: tuple[Finding, ...] = ()
    skipped: str | None = None

    def count(self, severity: Severity) -> int:
        """Return the number of errors or outliers."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def status(self) -> str:
        """One of error, outliers, ok, skipped."""
        if self.skipped is not None:
            return "skipped"
        if self.count("error"):
            return "error"
        return "outliers" if self.findings else "ok"


def has_errors(checks: Sequence[Check]) -> bool:
    """Whether any check found an error."""
    return any(check.count("error") for check in checks)


def write_report(path: Path, dataset: OpticalDataset, checks: Sequence[Check]) -> None:
    """Write all checks with all findings as JSON, atomically."""
    content = {
        "folder": str(dataset.folder),
        "name": dataset.manifest.name,
        "data_hash": dataset.hash,
        "n_materials": len(dataset),
        "errors": sum(check.count("error") for check in checks),
        "outliers": sum(check.count("outlier") for check in checks),
        "checks": [{"status": check.status, **asdict(check)} for check in checks],
    }
    write_json(path, content)


def check_files(name: str, rule: str, damaged: Sequence[str], *, checked: int) -> Check:
    """Return the check of a folder's files, from a line for each damaged one that begins with its name."""
    return Check(name, rule, checked, tuple(Finding(line.split()[0], "error", None, line) for line in damaged))
