"""Embeddings, layers and heads against independent sources."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pymatgen.core import Element
from scipy.special import sph_harm_y, spherical_jn
from torch.nn import functional

from optiscale.errors import UserError
from optiscale.networks import TargetSpec, check_elements
from optiscale.networks.elements import group_and_period
from optiscale.networks.embeddings import (
    AngleBasis,
    AtomNumber,
    BesselBasis,
    GaussianBasis,
    GroupPeriod,
    polynomial_envelope,
)
from optiscale.networks.layers import CrystalNorm, GatheredLinear
from optiscale.networks.readout import Readout

from .helpers import network_of, standard_batch


@pytest.mark.parametrize("number", range(1, 119))
def test_group_and_period_agree_with_pymatgen(number):
    element = Element.from_Z(number)
    assert group_and_period(number) == (element.group, element.row)


def test_one_hot_of_every_known_element():
    features = GroupPeriod()(torch.arange(1, 87))
    assert features.shape == (86, 24)
    for number, row in enumerate(features, start=1):
        group, period = group_and_period(number)
        assert row.nonzero().flatten().tolist() == [group - 1, 18 + period - 1]


def test_elements_outside_the_table_are_named():
    check_elements(np.arange(1, 87))
    with pytest.raises(UserError, match=r"atomic number 88 \(Ra\).*periods 1 to 6"):
        check_elements([13, 88])
    with pytest.raises(UserError, match="atomic number 0"):
        check_elements(torch.tensor([0, 1]))
    with pytest.raises(UserError, match="no element"):
        group_and_period(119)


def test_atom_embedding_has_a_row_for_the_first_and_last_element():
    assert AtomNumber()(torch.tensor([1, 86])).shape == (2, AtomNumber.width)


def test_envelope_is_smooth_at_the_cutoff():
    """1 at the origin; value, slope and curvature 0 at the cutoff; 0 beyond."""
    x = torch.tensor([1.0 - 1e-9], dtype=torch.float64, requires_grad=True)
    value = polynomial_envelope(x, p=4)
    (slope,) = torch.autograd.grad(value, x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, x)
    assert abs(value) < 1e-12
    assert abs(slope) < 1e-12
    assert abs(curvature) < 1e-6
    assert polynomial_envelope(torch.tensor([0.0, 1.0, 1.2]), p=4).tolist() == [1.0, 0.0, 0.0]
    half = 1 - 15 * 0.5**4 + 24 * 0.5**5 - 10 * 0.5**6  # eq. 8 of arXiv:2003.03123 with p = 4
    assert polynomial_envelope(torch.tensor([0.5]), p=4).item() == pytest.approx(half)


def test_gaussians():
    cutoff = 5.5
    length = torch.linspace(0.5, 5.4, 50, dtype=torch.float64)
    centers = np.linspace(0, cutoff, 32)
    gaussian = np.exp(-((length.numpy()[:, None] - centers) ** 2) / (2 * (4 * (centers[1] - centers[0])) ** 2))
    bare = GaussianBasis(cutoff=cutoff, envelope=False).double()(length)
    np.testing.assert_allclose(bare, gaussian, rtol=1e-5)
    envelope = polynomial_envelope(length / cutoff, p=4)[:, None]
    np.testing.assert_allclose(GaussianBasis(cutoff=cutoff).double()(length), bare * envelope, rtol=1e-12)


def test_bessel_functions():
    cutoff = 5.5
    length = np.linspace(0.5, 5.4, 50)
    wave_number = np.arange(1, 33) * math.pi / cutoff
    # sin(k d) / d = k j_0(k d)
    expected = math.sqrt(2 / cutoff) * wave_number * spherical_jn(0, wave_number * length[:, None])
    found = BesselBasis(cutoff=cutoff, envelope=False).double()(torch.as_tensor(length))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not list(BesselBasis(cutoff=cutoff).parameters())


def test_angles_are_spherical_harmonics():
    theta = np.linspace(0, math.pi, 40)
    expected = np.stack([sph_harm_y(degree, 0, theta, 0.0).real for degree in range(4)], axis=1)
    found = AngleBasis()(torch.as_tensor(np.cos(theta)))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_gathered_linear_is_the_linear_layer_on_the_concatenation():
    torch.manual_seed(1)
    layer = GatheredLinear(8).double()
    x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    y = torch.randn(40, 8, dtype=torch.float64, requires_grad=True)
    index = torch.randint(0, 5, (2, 40))
    weights = torch.randn(40, 8, dtype=torch.float64)
    wanted = [x, y, layer.weight, layer.bias]

    found = layer(x, y, index)
    concatenated = torch.cat([x[index[0]], x[index[1]], y], dim=1)
    expected = functional.linear(concatenated, layer.weight, layer.bias)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, two in zip(
        torch.autograd.grad((weights * found).sum(), wanted),
        torch.autograd.grad((weights * expected).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-11)


def test_crystal_norm_of_bfloat16_rows_is_taken_in_float32():
    """Two crystals of 3000 rows: mean 0 and variance 1 over rows and channels, also when the rows are bfloat16."""
    torch.manual_seed(2)
    rows = 3.0 + 2.0 * torch.randn(6000, 8)
    crystal = torch.arange(2).repeat_interleave(3000)
    normed = CrystalNorm(8)(rows.bfloat16(), crystal, 2)
    assert normed.dtype == torch.float32
    for b in range(2):
        assert abs(normed[crystal == b].mean().item()) < 1e-5
        assert abs(normed[crystal == b].var(correction=0).item() - 1) < 1e-4


def test_values_are_interleaved_per_frequency():
    readout = Readout(width=4, targets=TargetSpec(5, ("re", "im"), ())).eval()
    last = readout.spectrum.lins[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.arange(10.0))
        prediction = readout(torch.randn(3, 4))
    assert prediction.scalars is None
    assert prediction.spectrum.shape == (3, 5, 2)
    assert prediction.spectrum[1].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_only_nonnegative_scalars_are_clamped():
    readout = Readout(width=4, targets=TargetSpec(0, (), ("omega_D", "shift"))).eval()
    for head in readout.scalars:
        torch.nn.init.zeros_(head.lins[-1].weight)
        torch.nn.init.constant_(head.lins[-1].bias, -2.0)
    prediction = readout(torch.randn(3, 4))
    assert prediction.spectrum is None
    assert prediction.scalars.tolist() == [[0.0, -2.0]] * 3


def test_optimate_predicts_the_imaginary_part_only():
    network = network_of(type="OptiMate", width=None)
    prediction = network(standard_batch())
    assert (prediction.spectrum[..., 0] == 0).all()
    assert (prediction.spectrum[..., 1] != 0).all()
    assert (prediction.scalars == 0).all()
