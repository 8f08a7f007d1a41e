"""Checks of spectra and scalar targets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from optiscale.dataset.check.findings import Check, Finding
from optiscale.dataset.check.kramers_kronig import KramersKronig
from optiscale.dataset.store import OpticalDataset

EPS2_NOISE = 1e-3
"""Im eps may fall below zero by so much, or by this part of its largest value."""
KRAMERS_KRONIG = 0.02
"""Of the mean |Re eps - 1|; density-functional spectra of the embedded shelf leave less than 0.001."""
CHUNK = 512


class TargetChecks:
    """Checks that read every target, a chunk of rows at a time.

    Parameters
    ----------
    dataset
        The data set.
    """

    def __init__(self, dataset: OpticalDataset) -> None:
        self.dataset = dataset
        self.ids = dataset.materials["id"].to_numpy()
        names = dataset.manifest.components
        self.re, self.im = (names.index(name) if name in names else None for name in ("re", "im"))
        both = self.re is not None and self.im is not None
        self._relation = KramersKronig(dataset.energies) if both else None
        self._found: dict[str, list[Finding]] = {name: [] for name in ("finite", "sign", "passive", "causal")}

    def chunks(self) -> Iterator[int]:
        """Check all chunks; yield every row as it is done."""
        for start in range(0, len(self.dataset), CHUNK):
            rows = range(start, min(start + CHUNK, len(self.dataset)))
            part = slice(rows.start, rows.stop)
            self._scalars(self.ids[part], self.dataset.scalars[part])
            self._spectra(self.ids[part], self.dataset.spectrum[part])
            yield from rows

    def checks(self) -> list[Check]:
        """Return what was found."""
        manifest, n = self.dataset.manifest, len(self.dataset)
        nonnegative = [scalar.name for scalar in manifest.scalars if scalar.nonnegative]
        no_spectra = None if manifest.components else "the set has no spectra"
        return [
            Check("finite", "every target is a number", n, self._sorted("finite")),
            Check(
                "sign",
                f"{', '.join(nonnegative) or 'scalar targets'} > 0 (0 is an outlier)",
                n,
                self._sorted("sign"),
                None if nonnegative else "the set has no scalar target that is never negative",
            ),
            Check(
                "passive",
                f"Im eps >= 0, but for noise of {EPS2_NOISE:g} or that part of its largest value",
                n,
                self._sorted("passive"),
                no_spectra or (None if self.im is not None else "the set has no Im eps"),
            ),
            Check(
                "Kramers-Kronig",
                f"Re eps follows from Im eps to {KRAMERS_KRONIG:g} of |Re eps - 1| and twice the error of the grid",
                n,
                self._sorted("causal"),
                no_spectra or (None if self._relation else "the set lacks Re eps or Im eps"),
            ),
        ]

    def _sorted(self, name: str) -> tuple[Finding, ...]:
        """Put the worst first: what is no number, then by the distance from zero."""
        return tuple(sorted(self._found[name], key=lambda found: -abs(found.value or np.inf)))

    def _scalars(self, ids: np.ndarray, values: np.ndarray) -> None:
        for column, scalar in enumerate(self.dataset.manifest.scalars):
            target = values[:, column].astype(float)
            for row in np.flatnonzero(~np.isfinite(target)):
                self._found["finite"].append(Finding(ids[row], "error", None, f"{scalar.name} is {target[row]}"))
            if scalar.nonnegative:
                for row in np.flatnonzero(target < 0):
                    note = f"{scalar.name} is negative ({scalar.unit})"
                    self._found["sign"].append(Finding(ids[row], "error", float(target[row]), note))
                for row in np.flatnonzero(target == 0):
                    self._found["sign"].append(Finding(ids[row], "outlier", 0.0, f"{scalar.name} is 0"))

    def _spectra(self, ids: np.ndarray, spectra: np.ndarray) -> None:
        if spectra.shape[1] == 0:
            return
        for row in np.flatnonzero(~np.isfinite(spectra).all(axis=(1, 2))):
            self._found["finite"].append(Finding(ids[row], "error", None, "the spectrum holds a NaN or an infinity"))
        if self.im is not None:
            im = spectra[:, :, self.im]
            lowest, highest = im.min(axis=1), im.max(axis=1)
            for row in np.flatnonzero(lowest < -EPS2_NOISE * np.maximum(1, highest)):
                energy = self.dataset.energies[int(im[row].argmin())]
                note = f"Im eps falls below zero at {energy:.2f} eV"
                self._found["passive"].append(Finding(ids[row], "error", float(lowest[row]), note))
        if self._relation is not None:
            rest, resolution = self._relation.residual(spectra[:, :, self.re], spectra[:, :, self.im])
            for row in np.flatnonzero(rest > KRAMERS_KRONIG + 2 * resolution):
                note = "Re eps and Im eps do not belong together"
                self._found["causal"].append(Finding(ids[row], "error", float(rest[row]), note))
