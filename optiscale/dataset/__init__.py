"""The cached data set, its sources, splits and subsets."""

from optiscale.dataset.schema import EnergyGrid, Manifest, Scalar
from optiscale.dataset.source import open_source
from optiscale.dataset.split import nested_order, split_as_given, split_by_composition
from optiscale.dataset.store import OpticalDataset
from optiscale.dataset.writer import DatasetInfo, DatasetWriter, Material

__all__ = [
    "DatasetInfo",
    "DatasetWriter",
    "EnergyGrid",
    "Manifest",
    "Material",
    "OpticalDataset",
    "Scalar",
    "nested_order",
    "open_source",
    "split_as_given",
    "split_by_composition",
]
