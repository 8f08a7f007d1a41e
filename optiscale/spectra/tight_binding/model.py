"""Tight-binding blocks between the s, p, d orbitals of any two atoms: the interface to the band-structure engine.

Orbital order (9 an atom): s, py, pz, px, dxy, dyz, dz2, dxz, dx2-y2. Energies are in eV, lengths in Å. The zero of
energy is common: each element's own Fermi level in its elemental solid, so that Fermi levels are aligned in compounds.

The Bloch sums are H(k) = onsite + sum over R of exp(i k.R) H(vector), S(k) = 1 + the same of S, with ``vector`` from
the first atom to the second: `pair_blocks` gives <i at 0| |j at vector>. On one atom S is the unit matrix and H the
diagonal of `onsite`. Blocks vanish beyond `pair_cutoff` (the mean of the two elements' cutoffs), which is at most
`cutoff`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor

from optiscale.errors import UserError
from optiscale.spectra.tight_binding.bonds import PARITY, SWAPPED, Species, bond_integrals
from optiscale.spectra.tight_binding.parameters import ElementParameters, read_parameters
from optiscale.spectra.tight_binding.slater_koster import INTEGRALS, SHELLS, slater_koster_blocks

SHORTEST = 1.2
"""Å: closer atoms are an error."""

_KNOTS = 100  # interpolated blocks are within 3e-5 eV
# The integrals of a pair seen from its other end: shells swapped, and a sign where their parities differ.
_REVERSED = [INTEGRALS.index(name[1] + name[0] + name[2]) for name in INTEGRALS]
_REVERSED_SIGN = [-1.0 if name[:2].count("p") == 1 else 1.0 for name in INTEGRALS]


def species(elements: dict[str, ElementParameters], *, dtype: torch.dtype = torch.float64) -> Species:
    """Stack the parameters of elements, one row each in the order of the table."""
    columns = {
        name: torch.tensor([getattr(element, name) for element in elements.values()], dtype=dtype)
        for name in ("principal", "onsite", "exponent", "kappa", "kinetic", "cutoff")
    }
    return Species(**columns)


class TightBinding:
    """Slater-Koster blocks from a table of parameters; radial functions are tabulated on first use of an element pair.

    Parameters
    ----------
    elements
        Parameters by symbol.
    device, dtype
        Of every tensor returned; distances and directions may be float32 on a card.

    Examples
    --------
    >>> model = TightBinding.load()
    >>> H, S = model.pair_blocks(torch.tensor([13]), torch.tensor([28]), torch.tensor([[0.0, 0.0, 2.5]]).double())
    >>> H.shape
    torch.Size([1, 9, 9])
    """

    def __init__(
        self,
        elements: dict[str, ElementParameters],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.elements: tuple[str, ...] = tuple(elements)
        self.device, self.dtype = torch.device(device), dtype
        self._table = elements
        self._species = species(elements)  # float64 on the CPU: the source of every tabulated value
        self._row = torch.full((len(chemical_symbols),), -1)
        self._row[[atomic_numbers[symbol] for symbol in elements]] = torch.arange(len(elements))
        self._row = self._row.to(self.device)
        shell = torch.tensor(SHELLS)
        self._onsite = self._species.onsite[:, shell].to(self.device, dtype)
        self._dipole = torch.tensor([e.dipole for e in elements.values()], dtype=dtype, device=self.device)
        self._n_valence = torch.tensor([e.n_valence for e in elements.values()], device=self.device)
        self._cutoff = self._species.cutoff.to(self.device, dtype)
        # Tabulated pairs: slot of an ordered pair of rows, and (slots, knots, 28) values, H then S.
        self._slot = torch.full((len(elements), len(elements)), -1, device=self.device)
        self._values = torch.empty((0, _KNOTS, 2 * len(INTEGRALS)), dtype=dtype, device=self.device)

    @classmethod
    def load(cls, path: Path | None = None) -> TightBinding:
        """Read a table of parameters (the fitted one in the package by default), see `read_parameters`."""
        return cls(read_parameters(path))

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float64) -> TightBinding:
        """Return the same model on another device or in another precision."""
        return TightBinding(self._table, device=device, dtype=dtype)

    @property
    def cutoff(self) -> float:
        """Largest distance in Å at which any pair has a block."""
        return float(self._species.cutoff.max())

    def pair_cutoff(self, Z_i: Tensor, Z_j: Tensor) -> Tensor:
        """Distance in Å from which on a pair's blocks are zero, shape of the inputs."""
        return 0.5 * (self._cutoff[self._rows(Z_i)] + self._cutoff[self._rows(Z_j)])

    def n_valence(self, Z: Tensor) -> Tensor:
        """Valence electrons of atoms, shape of Z."""
        return self._n_valence[self._rows(Z)]

    def onsite(self, Z: Tensor) -> Tensor:
        """Levels of the nine orbitals in eV, (..., 9)."""
        return self._onsite[self._rows(Z)]

    def dipole(self, Z: Tensor) -> Tensor:
        """On-site dipole lengths in Å, (..., 2): radial parts of s-p and p-d."""
        return self._dipole[self._rows(Z)]

    def pair_blocks(self, Z_i: Tensor, Z_j: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return the blocks <i at 0| |j at vector> of pairs of atoms.

        Parameters
        ----------
        Z_i, Z_j
            (P,) atomic numbers.
        vector
            (P, 3) from the first atom to the second, Å. The result can be differentiated by it.

        Returns
        -------
        tuple of Tensor
            H in eV and S, (P, 9, 9) each.

        Raises
        ------
        UserError
            For an element without parameters, or atoms closer than `SHORTEST`.
        """
        distance = torch.linalg.vector_norm(vector, dim=-1)
        shortest = float(distance.detach().min()) if len(distance) else SHORTEST
        if shortest < SHORTEST:
            raise UserError(
                f"two atoms are {shortest:.3f} Å apart; the bands need at least {SHORTEST} Å: "
                "check the positions and the cell"
            )
        rows_i, rows_j = self._rows(Z_i), self._rows(Z_j)
        self._tabulate(rows_i, rows_j)
        stop = 0.5 * (self._cutoff[rows_i] + self._cutoff[rows_j])
        step = (stop - SHORTEST) / (_KNOTS - 1)
        values = self._interpolate(self._slot[rows_i, rows_j], (distance - SHORTEST) / step)
        values = torch.where((distance < stop)[:, None], values, torch.zeros_like(values))
        direction = vector / distance[:, None]
        n = len(INTEGRALS)
        return slater_koster_blocks(values[:, :n], direction), slater_koster_blocks(values[:, n:], direction)

    def _rows(self, Z: Tensor) -> Tensor:
        rows = self._row[Z.to(self.device)]
        if bool((rows < 0).any()):
            missing = sorted({chemical_symbols[int(z)] for z in Z[(rows < 0).to(Z.device)].unique()})
            raise UserError(
                f"no tight-binding parameters for {', '.join(missing)}; use {', '.join(self.elements)}, or fit the "
                "element with python -m optiscale.spectra.tight_binding.fit"
            )
        return rows

    def _interpolate(self, slot: Tensor, place: Tensor) -> Tensor:
        """Cubic Lagrange interpolation on four knots; `place` in units of the knots' spacing."""
        start = place.detach().floor().long().sub(1).clamp(0, _KNOTS - 4)
        x = (place - start)[:, None]
        knots = self._values[slot[:, None], start[:, None] + torch.arange(4, device=self.device)]  # (P, 4, 28)
        weights = torch.cat(
            [
                -(x - 1) * (x - 2) * (x - 3) / 6,
                x * (x - 2) * (x - 3) / 2,
                -x * (x - 1) * (x - 3) / 2,
                x * (x - 1) * (x - 2) / 6,
            ],
            1,
        )
        return torch.einsum("pk,pkc->pc", weights, knots)

    def _tabulate(self, rows_i: Tensor, rows_j: Tensor) -> None:
        """Add the radial functions of the pairs that are not there yet, both ways."""
        n = len(self.elements)
        wanted = torch.unique(rows_i * n + rows_j)
        wanted = wanted[self._slot.view(-1)[wanted] < 0].cpu()
        if not len(wanted):
            return
        low, high = torch.minimum(wanted // n, wanted % n), torch.maximum(wanted // n, wanted % n)
        low, high = torch.unique(torch.stack([low, high]), dim=1)
        for i, j in zip(low.split(8), high.split(8), strict=True):  # 8 pairs take about 100 MB of intermediate values
            values = self._radial_functions(i, j)
            # The same pair from the other atom: shells swapped, and the sign of their parity.
            mirrored = (values.unflatten(-1, (2, -1))[..., SWAPPED] * PARITY).flatten(-2)
            for first, second, columns in ((i, j, values), (j, i, mirrored)):
                self._slot[first, second] = torch.arange(len(i), device=self.device) + len(self._values)
                self._values = torch.cat([self._values, columns.to(self.device, self.dtype)])

    def _radial_functions(self, rows_i: Tensor, rows_j: Tensor) -> Tensor:
        """Bond integrals H, S of pairs at their knots, (P, knots, 28), float64 on the CPU."""
        first, second = self._species[rows_i], self._species[rows_j]
        stop = 0.5 * (first.cutoff + second.cutoff)
        grid = SHORTEST + (stop - SHORTEST)[:, None] * torch.linspace(0, 1, _KNOTS, dtype=torch.float64)
        spread = torch.arange(len(rows_i)).repeat_interleave(_KNOTS)
        integrals = bond_integrals(first[spread], second[spread], grid.reshape(-1))
        return torch.cat(integrals, 1).view(len(rows_i), _KNOTS, -1)
