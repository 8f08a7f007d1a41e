"""Tight-binding engine: s, p, d Slater-Koster bands with fitted parameters."""

from optiscale.spectra.tight_binding.model import TightBinding

__all__ = ["TightBinding"]
