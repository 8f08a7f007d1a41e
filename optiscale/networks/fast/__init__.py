"""The networks on flat batches: the same weights and results as the plain ones, in fewer passes."""

from optiscale.networks.fast.network import fast_forward, why_not_fast

__all__ = ["fast_forward", "why_not_fast"]
