"""Crystals as graphs: edges, angles, the cache of a whole data set, and batches."""

from optiscale.graphs.batch import CrystalBatch
from optiscale.graphs.crystal import CrystalGraph, crystal_graph
from optiscale.graphs.store import GraphStore

__all__ = ["CrystalBatch", "CrystalGraph", "GraphStore", "crystal_graph"]
