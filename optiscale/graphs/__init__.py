"""Crystals as graphs: edges, angles, the cache of a whole data set, and batches."""

from optiscale.graphs.batch import CrystalBatch
from optiscale.graphs.crystal import CrystalGraph, crystal_graph
from optiscale.graphs.flat import FlatBatch
from optiscale.graphs.merged import MergedGraphs
from optiscale.graphs.store import GraphStore

__all__ = ["CrystalBatch", "CrystalGraph", "FlatBatch", "GraphStore", "MergedGraphs", "crystal_graph"]
