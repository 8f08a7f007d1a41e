from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.data import atomic_numbers

from optiscale.errors import UserError
from optiscale.spectra.tight_binding import TightBinding
from optiscale.spectra.tight_binding.bloch import bloch_sums
from optiscale.spectra.tight_binding.bonds import bond_integrals
from optiscale.spectra.tight_binding.engine import TightBindingEngine
from optiscale.spectra.tight_binding.kmesh import Mesh
from optiscale.spectra.tight_binding.model import SHORTEST, species
from optiscale.spectra.tight_binding.parameters import parameter_file, read_parameters, write_parameters
from optiscale.spectra.tight_binding.reference import BandModel, fermi_level
from optiscale.spectra.tight_binding.slater_koster import slater_koster_blocks
from optiscale.structures import ATOMIC_VOLUMES, PROTOTYPES, build_crystal


@pytest.fixture(scope="module")
def model() -> TightBinding:
    return TightBinding.load()


def pairs(n: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs of a few elements at bond lengths, in random directions."""
    generator = torch.Generator().manual_seed(5)
    Z = torch.tensor([13, 29, 22, 12])
    vector = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    length = 2.2 + 3 * torch.rand(n, generator=generator, dtype=torch.float64)
    vector *= (length / vector.norm(dim=1))[:, None]
    pick = torch.randint(0, len(Z), (2, n), generator=generator)
    return Z[pick[0]], Z[pick[1]], vector


def test_the_table_covers_the_metals_of_the_plan(model):
    assert set(model.elements) == set(ATOMIC_VOLUMES)
    table = json.loads(parameter_file().read_text(encoding="utf-8"))
    assert table["provenance"]["bands"]
    assert all(entry["residual"] for entry in table["elements"].values())


def test_a_pair_seen_from_the_other_atom_is_transposed(model):
    Z_i, Z_j, vector = pairs()
    H, S = model.pair_blocks(Z_i, Z_j, vector)
    H_back, S_back = model.pair_blocks(Z_j, Z_i, -vector)
    torch.testing.assert_close(H, H_back.transpose(1, 2), atol=1e-10, rtol=0)
    torch.testing.assert_close(S, S_back.transpose(1, 2), atol=1e-10, rtol=0)


def test_interpolation_is_close_to_the_integrals(model):
    Z_i, Z_j, vector = pairs()
    H, S = model.pair_blocks(Z_i, Z_j, vector)
    elements = read_parameters()
    row = {atomic_numbers[symbol]: row for row, symbol in enumerate(elements)}
    first, second = (species(elements)[torch.tensor([row[int(z)] for z in Z])] for Z in (Z_i, Z_j))
    distance = vector.norm(dim=1)
    hamiltonian, overlap = bond_integrals(first, second, distance)
    direction = vector / distance[:, None]
    torch.testing.assert_close(H, slater_koster_blocks(hamiltonian, direction), atol=2e-5, rtol=0)
    torch.testing.assert_close(S, slater_koster_blocks(overlap, direction), atol=1e-6, rtol=0)


def test_blocks_end_at_the_pair_cutoff_and_differentiate_by_the_vector(model):
    Z = torch.tensor([13]), torch.tensor([29])
    reach = float(model.pair_cutoff(*Z))
    assert reach <= model.cutoff
    ends = [model.pair_blocks(*Z, torch.tensor([[0.0, 0.0, r]]).double())[0].abs().max() for r in (reach, reach + 1)]
    assert ends[0] < 1e-9
    assert ends[1] == 0
    vector = torch.tensor([[1.1, -0.7, 2.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(model.pair_blocks(*Z, vector)[0][0, 2, 7], vector)
    step = 1e-4 * torch.eye(3, dtype=torch.float64)
    for axis in range(3):
        ahead, behind = (model.pair_blocks(*Z, vector.detach() + s * step[axis])[0][0, 2, 7] for s in (1, -1))
        assert float(slope[0, axis]) == pytest.approx(float(ahead - behind) / 2e-4, abs=1e-5)


def test_float32_agrees(model):
    Z_i, Z_j, vector = pairs()
    single = model.to("cpu", torch.float32).pair_blocks(Z_i, Z_j, vector.float())[0]
    torch.testing.assert_close(single.double(), model.pair_blocks(Z_i, Z_j, vector)[0], atol=1e-4, rtol=1e-4)


def smallest_overlap(model: TightBinding, atoms: Atoms) -> float:
    """Smallest eigenvalue of S(k) on a 2 x 2 x 2 mesh with the zone centre and its edges."""
    k = np.array(list(itertools.product((0.0, 0.5), repeat=3)))
    mesh = Mesh(k, np.full(len(k), 1 / len(k)), (2, 2, 2))
    crystal = TightBindingEngine(model).prepare(atoms.cell.array, atoms.numbers, atoms.positions, mesh=mesh)
    return float(torch.linalg.eigvalsh(bloch_sums([crystal], model).bands()[1]).min())


def test_the_overlap_is_positive_definite_on_prototypes(model):
    """Random elements at volumes of 0.85 to 1.15: nearest distances vary by 5 % and the pairs by much more."""
    draw = random.Random(7)
    found = {}
    for name, prototype in PROTOTYPES.items():
        elements = draw.sample(list(ATOMIC_VOLUMES), prototype.n_elements)
        found[name, *elements] = smallest_overlap(model, build_crystal(prototype, elements, draw.uniform(0.85, 1.15)))
    assert min(found.values()) > 0.02, found


# eV from E_F at Gamma and X of fcc Al, Ni, Cu (a = 4.0494, 3.5239, 3.6150 Å): GPAW 22.8, PBE, plane waves to 300 eV,
# 12^3 (Al, Ni: 8^3) Gamma-centred mesh, no spin; the files of the fit.
REFERENCE = {
    "Al": {(0, 0, 0): [-11.06], (0.5, 0.5, 0): [-2.88, -1.57]},
    "Ni": {
        (0, 0, 0): [-8.98, -1.87, -1.87, -1.87, -0.75, -0.75],
        (0.5, 0.5, 0): [-4.33, -3.73, -0.05, 0.16, 0.16, 2.44],
    },
    "Cu": {
        (0, 0, 0): [-9.36, -2.95, -2.95, -2.95, -2.13, -2.13],
        (0.5, 0.5, 0): [-4.81, -4.34, -1.58, -1.41, -1.41, 1.5],
    },
}


@pytest.mark.parametrize("symbol", list(REFERENCE))
def test_bands_of_metals_at_special_points(symbol):
    element = read_parameters()[symbol]
    volume = ATOMIC_VOLUMES[symbol]
    a = (4 * volume) ** (1 / 3)
    atoms = Atoms(symbol, cell=a / 2 * (np.ones((3, 3)) - np.eye(3)), pbc=True)
    mesh = torch.cartesian_prod(*[torch.arange(8, dtype=torch.float64) / 8] * 3)
    bands = BandModel(atoms, mesh, element.cutoff).bands(species({symbol: element}))
    level, _ = fermi_level(bands.energies, torch.full((len(mesh),), 1 / len(mesh)), element.n_valence)
    for point, expected in REFERENCE[symbol].items():
        row = int((mesh - torch.tensor(point, dtype=torch.float64)).abs().sum(1).argmin())
        energies = (bands.energies[row] - level)[: len(expected)]
        np.testing.assert_allclose(energies.numpy(), expected, atol=0.5 if symbol == "Al" else 0.3)


def test_missing_element_and_atoms_too_close(model):
    with pytest.raises(UserError, match=r"no tight-binding parameters for U; use Li, .*fit"):
        model.onsite(torch.tensor([13, 92]))
    vector = torch.tensor([[0.0, 0.0, SHORTEST - 0.1]], dtype=torch.float64)
    with pytest.raises(UserError, match=r"1\.100 Å apart.*positions"):
        model.pair_blocks(torch.tensor([13]), torch.tensor([13]), vector)


def test_a_table_survives_writing(tmp_path):
    elements = read_parameters()
    write_parameters(tmp_path / "table.json", elements, provenance={"bands": "none"})
    assert read_parameters(tmp_path / "table.json") == elements


def _damaged(change) -> str:
    table = json.loads(parameter_file().read_text(encoding="utf-8"))
    change(table)
    return json.dumps(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda: parameter_file().read_text(encoding="utf-8")[:4000], "not a readable table"),
        (lambda: '{"elements": {}}', "not a table of tight-binding parameters"),
        (lambda: _damaged(lambda t: t["elements"].update(Xx={})), "'Xx' is not an element"),
        (lambda: _damaged(lambda t: t["elements"]["Al"].pop("kappa")), r"Al\.kappa must be 6 numbers"),
        (lambda: _damaged(lambda t: t["elements"]["Al"].update(onsite=[1, 2, "3"])), r"Al\.onsite must be finite"),
        (lambda: _damaged(lambda t: t["elements"]["Cu"].update(cutoff=float("nan"))), r"Cu\.cutoff must be finite"),
        (lambda: _damaged(lambda t: t["elements"]["Cu"].update(exponent=[1, 2, -1])), "Cu: .*above 0"),
        (lambda: _damaged(lambda t: t["elements"]["Cu"].update(principal=[4, 4, 2])), r"Cu\.principal"),
    ],
)
def test_bad_tables_are_one_clear_line(tmp_path, text, message):
    path = tmp_path / "table.json"
    path.write_text(text(), encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        TightBinding.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
