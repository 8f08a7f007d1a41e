"""Exchange of parts by name, one's own module, and the refusal of what cannot be built."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from optiscale.errors import UserError
from optiscale.networks import (
    EDGES,
    MESSAGES,
    NETWORKS,
    NODES,
    POOLINGS,
    NetworkConfig,
    Prediction,
    Registry,
    TargetSpec,
    build_network,
    check_config,
    count_parameters,
)

from .helpers import PAPER_TARGETS, SMALL_TARGETS, crystals, low_symmetry, make_batch, standard_batch


def build(targets=SMALL_TARGETS, **fields):
    return build_network(NetworkConfig(**fields), targets, cutoff=5.5, angle_cutoff=4.0)


def ours(registry):
    """Names of this package; other tests register parts of their own."""
    return [name for name in registry if registry[name].__module__.startswith("optiscale.")]


def test_published_names():
    assert ours(NODES) == ["group_period", "atom"]
    assert ours(EDGES) == ["gaussian", "bessel"]
    assert ours(MESSAGES) == ["TC", "CGC", "GATv2"]
    assert ours(POOLINGS) == ["mean", "scalar_attention", "vector_attention", "set2set"]
    assert set(NETWORKS) == {"OptiMetal2B", "OptiMetal3B", "OptiMate"}


@pytest.mark.parametrize("name", ["OptiMetal2B", "OptiMetal3B"])
@pytest.mark.parametrize("message", ["TC", "CGC", "GATv2"])
@pytest.mark.parametrize("pooling", ["mean", "scalar_attention", "vector_attention", "set2set"])
@pytest.mark.parametrize("nodes", ["group_period", "atom"])
@pytest.mark.parametrize("edges", ["gaussian", "bessel"])
def test_every_combination_builds_and_predicts(name, message, pooling, nodes, edges):
    network = build(type=name, width=8, message=message, pooling=pooling, nodes=nodes, edges=edges)
    prediction = network(make_batch(crystals()[:3], dtype=torch.float32))
    assert prediction.spectrum.shape == (3, 7, 2)
    assert prediction.scalars.shape == (3, 2)
    assert torch.cat([prediction.spectrum.flatten(), prediction.scalars.flatten()]).isfinite().all()


def test_heads_can_be_chosen():
    assert build(width=12, heads=3).blocks[0].conv.heads == 3
    assert build(width=12).blocks[0].conv.heads == 2
    assert build(type="OptiMetal3B", width=16).blocks[0].edge_block.conv.heads == 8


@pytest.mark.parametrize(
    ("targets", "spectrum", "scalars"),
    [
        (TargetSpec(11, ("im",), ()), (5, 11, 1), None),
        (TargetSpec(0, (), ("omega_D", "gap", "e_form")), None, (5, 3)),
        (TargetSpec(4, ("xx", "yy", "zz"), ("omega_D",)), (5, 4, 3), (5, 1)),
    ],
)
def test_targets_decide_the_shapes(targets, spectrum, scalars):
    prediction = build(targets, width=8)(standard_batch(torch.float32))
    assert (None if prediction.spectrum is None else tuple(prediction.spectrum.shape)) == spectrum
    assert (None if prediction.scalars is None else tuple(prediction.scalars.shape)) == scalars


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "OptiMetal4B"}, "network.type: 'OptiMetal4B' is unknown; choose one of .*OptiMetal2B"),
        ({"nodes": "magpie"}, "network.nodes: 'magpie' is unknown; choose one of group_period, atom"),
        ({"edges": "fourier"}, "network.edges: 'fourier' is unknown; choose one of gaussian, bessel"),
        ({"message": "GCN"}, "network.message: 'GCN' is unknown; choose one of TC, CGC, GATv2"),
        ({"pooling": "max"}, "network.pooling: 'max' is unknown; choose one of mean, "),
        ({"width": 30, "heads": 4}, "network.width: 30 is not divisible by 4 heads; choose a multiple of 4"),
        ({"type": "OptiMetal3B", "width": 20}, "network.width: 20 is not divisible by 8 heads"),
        ({"width": 9, "message": "GATv2"}, "network.width: 9 is not divisible by 2 heads"),
        ({"message": "CGC", "heads": 2}, "network.heads: CGC has no attention heads; remove heads"),
        ({"options": {"depth": 3}}, "network.options: OptiMetal2B takes none; remove depth"),
        ({"type": "OptiMate", "width": 64}, "network.width: OptiMate is fixed as published; remove width"),
        ({"type": "OptiMate", "message": "TC"}, "network.message: OptiMate is fixed as published"),
        ({"type": "OptiMate", "options": {"a": 1}}, "network.options: OptiMate is fixed as published"),
        ({"type": "my.module:Net", "pooling": "mean"}, "network.pooling: my.module:Net gets width and options only"),
    ],
)
def test_what_cannot_be_built_is_refused_early(fields, message):
    with pytest.raises(UserError, match=message) as caught:
        check_config(NetworkConfig(**fields))
    assert "\n" not in str(caught.value)


def test_published_optimate_may_be_spelled_out():
    assert build(PAPER_TARGETS, type="OptiMate", message="GATv2", heads=4).needs_angles is False


def test_what_is_refused_early_is_refused_when_built():
    with pytest.raises(UserError, match=r"network\.width: OptiMetal2B needs a hidden width"):
        build()
    with pytest.raises(UserError, match=r"network\.width: 15 is not divisible by 2 heads"):
        build(width=15)


def test_a_width_may_come_later():
    check_config(NetworkConfig(heads=3))


def test_optimate_needs_an_imaginary_part():
    with pytest.raises(UserError, match="no component 'im'; choose"):
        build(TargetSpec(0, (), ("omega_D",)), type="OptiMate")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, (), ()), "nothing to predict"),
        ((0, ("re",), ()), "n_omega = 0 does not fit"),
        ((5, (), ("omega_D",)), "n_omega = 5 does not fit"),
        ((5, ("re", "re"), ()), "targets.components: a name occurs twice"),
        ((0, (), ("gap", "gap")), "targets.scalars: a name occurs twice"),
    ],
)
def test_impossible_targets(arguments, message):
    with pytest.raises(UserError, match=message):
        TargetSpec(*arguments)


class CountingNetwork(nn.Module):
    """A user's own module: predicts from the number of atoms alone."""

    needs_angles = False

    def __init__(self, *, width, targets, cutoff, angle_cutoff, gain=1.0):
        super().__init__()
        self.settings = (width, cutoff, angle_cutoff, gain)
        self.targets = targets
        self.linear = nn.Linear(1, width)
        self.last = nn.Linear(width, targets.n_omega * len(targets.components))

    def forward(self, batch):
        count = torch.bincount(batch.crystal, minlength=batch.n_crystals).float()[:, None]
        spectrum = self.last(self.linear(count).relu())
        shape = (-1, self.targets.n_omega, len(self.targets.components))
        return Prediction(spectrum.view(shape), count.expand(-1, len(self.targets.scalars)))


class ReadsAngles(CountingNetwork):
    needs_angles = True


class SaysNothing(nn.Module):
    def __init__(self, **_):
        super().__init__()


def test_own_module_by_import_path():
    network = build(type=f"{__name__}:CountingNetwork", width=8, options={"gain": 2.0})
    assert isinstance(network, CountingNetwork)
    assert network.settings == (8, 5.5, 4.0, 2.0)
    assert network.needs_angles is False
    assert count_parameters(network) == 2 * 8 + 9 * 14
    prediction = network(make_batch([low_symmetry()], dtype=torch.float32))
    assert prediction.spectrum.shape == (1, 7, 2)
    assert prediction.scalars.tolist() == [[3.0, 3.0]]


def test_own_module_gets_angles_unless_it_declines():
    assert build(type=f"{__name__}:ReadsAngles", width=8).needs_angles is True
    assert build(type=f"{__name__}:SaysNothing").needs_angles is True


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"type": "no_such_package.net:Net"},
            "network.type: no module 'no_such_package' for .*; install it or run from",
        ),
        ({"type": "optiscale.no_such:Net"}, "network.type: no module 'optiscale.no_such'"),
        ({"type": f"{__name__}:Missing"}, "has no torch module class 'Missing'; correct the name"),
        ({"type": f"{__name__}:build"}, "has no torch module class 'build'"),
        ({"type": f"{__name__}:"}, "is no import path; write package.module:Class"),
        ({"type": f"{__name__}:CountingNetwork", "options": {"gian": 1}}, "cannot be called with these: .*gian"),
        (
            {"type": f"{__name__}:CountingNetwork", "options": {"width": 1}},
            "network.options.width: .* gets width anyway",
        ),
    ],
)
def test_own_module_that_cannot_be_built(fields, message):
    with pytest.raises(UserError, match=message) as caught:
        build(**fields)
    assert "\n" not in str(caught.value)


def test_own_part_by_name():
    """A user's edge basis takes the place of the Gaussians under the name that it was registered with."""

    class Inverse(nn.Module):
        width = 1

        def __init__(self, *, cutoff):
            super().__init__()
            self.cutoff = cutoff

        def forward(self, length):
            return (self.cutoff / length).unsqueeze(-1)

    EDGES.register("inverse")(Inverse)
    try:
        network = build(width=8, edges="inverse")
        assert network.edge_mlp.channel_list == [1, 8, 8, 8]
        assert network(standard_batch(torch.float32)).spectrum.isfinite().all()
    finally:
        del EDGES._entries["inverse"]


def test_a_name_is_given_once():
    registry = Registry("network.test")
    registry.register("one")(dict)
    with pytest.raises(UserError, match=r"network\.test: the name 'one' is already registered"):
        registry.register("one")(list)
