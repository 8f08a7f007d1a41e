"""N of every network equals the published one (arXiv:2602.05702; OptiMate: Phys. Rev. Materials 8, L122201)."""

from __future__ import annotations

import pytest
import torch

from optiscale.networks import NetworkConfig, TargetSpec, build_network, count_parameters

from .helpers import PAPER_TARGETS

WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
PUBLISHED = {
    ("OptiMetal2B", "CGC"): (278627, 585507, 1296035, 3104163, 8268707, 24790947, 82608035),
    ("OptiMetal2B", "TC"): (278275, 583779, 1288483, 3072675, 8140195, 24271779, 80521123),
    ("OptiMetal3B", "TC"): (291827, 635459, 1490147, 3869219, 11306147, 36895139, 130933667),
}


def n_of(config, targets=PAPER_TARGETS, device="meta"):
    with torch.device(device):
        return count_parameters(build_network(config, targets, cutoff=5.5, angle_cutoff=4.0))


@pytest.mark.parametrize(
    ("name", "message", "width", "published"),
    [(*key, width, n) for key, counts in PUBLISHED.items() for width, n in zip(WIDTHS, counts, strict=True)],
)
def test_published_count(name, message, width, published):
    assert n_of(NetworkConfig(type=name, message=message, width=width)) == published


def test_optimate_count():
    assert n_of(NetworkConfig(type="OptiMate")) == 4902545


def test_defaults_are_the_published_networks():
    assert n_of(NetworkConfig(type="OptiMetal2B", width=32)) == PUBLISHED["OptiMetal2B", "TC"][1]
    assert n_of(NetworkConfig(type="OptiMetal3B", width=32)) == PUBLISHED["OptiMetal3B", "TC"][1]


def test_count_is_the_same_with_storage():
    assert n_of(NetworkConfig(type="OptiMetal3B", width=16), device="cpu") == PUBLISHED["OptiMetal3B", "TC"][0]


def test_count_of_other_targets():
    """A head is its MLP: without the spectrum [W, 4W, 4W, 4002] falls away, a second scalar adds [W, W, W, 1]."""
    W = 16
    config = NetworkConfig(width=W)
    spectrum_head = (W + 1) * 4 * W + 2 * 4 * W + (4 * W + 1) * 4 * W + 2 * 4 * W + (4 * W + 1) * 4002
    scalar_head = 2 * ((W + 1) * W + 2 * W) + W + 1
    published = PUBLISHED["OptiMetal2B", "TC"][0]
    assert n_of(config, TargetSpec(0, (), ("omega_D",))) == published - spectrum_head
    assert n_of(config, TargetSpec(2001, ("re", "im"), ())) == published - scalar_head
    assert n_of(config, TargetSpec(2001, ("re", "im"), ("omega_D", "gap"))) == published + scalar_head


def test_frozen_parameters_do_not_count():
    network = build_network(NetworkConfig(width=16), PAPER_TARGETS, cutoff=5.5, angle_cutoff=4.0)
    network.readout.requires_grad_(False)
    assert count_parameters(network) == 278275 - sum(p.numel() for p in network.readout.parameters())
