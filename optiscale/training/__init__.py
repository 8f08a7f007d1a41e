"""One network, one data set, one record."""

from optiscale.training.cell import Cell, cell_hash, learning_rate, make_network, parameters_of, target_spec
from optiscale.training.options import RunOptions
from optiscale.training.run import run_cell

__all__ = [
    "Cell",
    "RunOptions",
    "cell_hash",
    "learning_rate",
    "make_network",
    "parameters_of",
    "run_cell",
    "target_spec",
]
