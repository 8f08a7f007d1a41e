"""The networks on flat batches: the same weights and results as the plain ones, in fewer passes."""
