"""Compute reference bands for the fit of the tight-binding engine with GPAW (PBE, plane waves); resumable.

    /usr/bin/python3 benchmarks/tight_binding_bands.py benchmarks/data/tight_binding_bands PART PARTS

Runs under an interpreter that has GPAW 22.8 and imports nothing of ours. One npz a crystal, in the layout that
`optiscale.spectra.tight_binding.fit` reads. The plan: fcc crystals of the elements that the first set lacks, spectra of
those whose spectra it lacks, then three rounds of random pairs of all elements (B2 and L1_0 at random volumes) without
the pairs of the first set. The pairs test the fit.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from gpaw import GPAW, PW, FermiDirac, KohnShamConvergenceError
from gpaw.response.df import DielectricFunction

# Å^3 an atom, as optiscale/structures/volumes.py.
VOLUMES = {
    "Li": 21.3, "Be": 8.11, "Na": 39.5, "Mg": 23.2, "Al": 16.6, "K": 75.3, "Ca": 43.6, "Sc": 25.0, "Ti": 17.65,
    "V": 13.82, "Cr": 12.0, "Mn": 12.2, "Fe": 11.8, "Co": 11.1, "Ni": 10.94, "Cu": 11.81, "Zn": 15.2, "Ga": 19.6,
    "Ge": 22.6, "Rb": 92.7, "Sr": 56.3, "Y": 33.0, "Zr": 23.3, "Nb": 18.0, "Mo": 15.58, "Ru": 13.57, "Rh": 13.75,
    "Pd": 14.72, "Ag": 17.06, "Cd": 21.58, "In": 26.16, "Sn": 27.0, "Sb": 30.0, "Cs": 115.8, "Ba": 63.0,
    "Hf": 22.3, "Ta": 18.0, "W": 15.85, "Re": 14.71, "Os": 13.99, "Ir": 14.15, "Pt": 15.1, "Au": 16.96,
    "Hg": 23.4, "Tl": 28.6, "Pb": 30.3, "Bi": 35.4,
}  # fmt: skip
SETUPS = {
    "Na": "1", "Mg": "2", "Rh": "9", "Ir": "9", "Ag": "11", "Ni": "10", "Pd": "10", "Pt": "10", "V": "5", "Nb": "5",
    "Ta": "5", "Mo": "6", "W": "6", "Ru": "8", "Os": "8",
}  # fmt: skip
# Pairs that the first set has.
FIRST_SET = ("Ni-Al", "Cu-Zn", "Ag-Mg", "Co-Ti", "Pd-In", "Ca-Zn", "Zr-Ru", "Li-Ag", "Ti-Al", "Au-Cu", "Al-Sc")
# Elements whose files in the first set have bands only.
WITHOUT_SPECTRUM = ("Al", "Ni", "Ti", "Fe", "Cr", "Zn", "Ca", "Ge", "Mn", "Sr", "Ba")
ROUNDS = 3
SEED = 20261122


def cubic(kind: str, symbols: tuple[str, ...], volume: float) -> Atoms:
    """Primitive cell of a structure type: fcc, bcc (one atom), B2, L1_0 (two atoms, c/a = 1.36)."""
    if kind in ("fcc", "bcc"):
        a = (volume * (4 if kind == "fcc" else 2)) ** (1 / 3)
        unit = np.ones((3, 3)) - (1 if kind == "fcc" else 2) * np.eye(3)
        return Atoms(symbols, positions=[(0, 0, 0)], cell=a / 2 * unit, pbc=True)
    ratio = 1.0 if kind == "B2" else 1.36
    a = (volume / ratio) ** (1 / 3)
    cell = (a, a, ratio * a)
    return Atoms(symbols, scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=cell, pbc=True)


def plan() -> list[tuple[str, str, tuple[str, ...], float]]:
    """Name, structure type, elements and volume in Å^3 of every crystal, in the order of computing."""
    jobs = [(f"el_{x}_fcc", "fcc", (x,), VOLUMES[x]) for x in ("Mn", "Ba")]
    jobs += [(f"spectrum_{x}_fcc", "fcc", (x,), VOLUMES[x]) for x in WITHOUT_SPECTRUM]
    generator = random.Random(SEED)  # noqa: S311 (no secrets here)
    there = {frozenset(pair.split("-")) for pair in FIRST_SET}
    pairs = set(there)
    for _ in range(ROUNDS):
        order = generator.sample(list(VOLUMES), len(VOLUMES))
        for pair in zip(order[::2], order[1::2] + order[:1], strict=True):
            scale, kind = round(generator.uniform(0.92, 1.08), 3), generator.choice(("B2", "B2", "L1_0"))
            if len(set(pair)) == 1 or frozenset(pair) in pairs:
                continue
            pairs.add(frozenset(pair))
            jobs.append((f"pair_{'-'.join(pair)}_{kind}", kind, pair, scale * sum(VOLUMES[x] for x in pair)))
    return jobs


def bands(atoms: Atoms) -> dict[str, np.ndarray]:
    """Eigenvalues minus E_F on a Gamma-centred mesh."""
    lengths = np.linalg.norm(atoms.cell.array, axis=1)
    mesh = [max(6, 2 * round(13 / x)) for x in lengths]
    calculator = GPAW(
        mode=PW(300),
        xc="PBE",
        kpts={"size": mesh, "gamma": True},
        occupations=FermiDirac(0.1),
        setups={x: SETUPS[x] for x in set(atoms.get_chemical_symbols()) if x in SETUPS},
        nbands=-11 * len(atoms),
        convergence={"density": 1e-4, "bands": -4},
        maxiter=200,
        txt=None,
    )
    atoms.calc = calculator
    atoms.get_potential_energy()
    return _arrays(calculator, atoms)


def spectrum(atoms: Atoms) -> dict[str, np.ndarray]:
    """Compute bands and response: interband dielectric function on 0 to 20 eV, squared plasma frequency (hartree^2)."""
    calculator = GPAW(
        mode=PW(300),
        xc="PBE",
        kpts={"size": (12, 12, 12), "gamma": True},
        occupations=FermiDirac(0.1),
        nbands=-14,
        convergence={"density": 1e-4, "bands": -4},
        maxiter=200,
        txt=None,
    )
    atoms.calc = calculator
    atoms.get_potential_energy()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/ground.gpw"
        calculator.write(path, "all")
        response = DielectricFunction(
            calc=path,
            frequencies=np.linspace(0, 20, 2001),
            eta=0.1,
            ecut=1,
            hilbert=False,
            nbands=calculator.wfs.bd.nbands - 4,
            txt=None,
            intraband=False,
        )
        chi = response.calculate_chi0([0, 0, 0])[-1]  # (2001, 3, 3), no local fields
        plasma = np.asarray(response.chi0.plasmafreq_vv)
    return _arrays(calculator, atoms) | {"inter": (1 - 4 * np.pi * chi[:, 0, 0]).astype(np.complex64), "pf": plasma}


def _arrays(calculator: GPAW, atoms: Atoms) -> dict[str, np.ndarray]:
    n_k = len(calculator.get_ibz_k_points())
    eigenvalues = np.array([calculator.get_eigenvalues(kpt=k) for k in range(n_k)]) - calculator.get_fermi_level()
    return {
        "E": eigenvalues[:, :-4].astype(np.float32),
        "ibz": calculator.get_ibz_k_points(),
        "w": calculator.get_k_point_weights(),
        "nv": np.int64(round(calculator.wfs.nvalence)),
        "cell": atoms.cell.array,
        "numbers": atoms.numbers,
        "positions": atoms.positions,
    }


def main(out: Path, part: int, parts: int) -> None:
    """Compute what is missing of one part of the plan."""
    out.mkdir(parents=True, exist_ok=True)
    for name, kind, symbols, volume in plan()[part::parts]:
        path = out / f"{name}.npz"
        if path.exists():
            continue
        started = time.time()
        compute = spectrum if name.startswith("spectrum") else bands
        try:
            arrays = compute(cubic(kind, symbols, volume))
        except KohnShamConvergenceError as error:
            print(name, "does not converge:", error, flush=True)
            continue
        partial = path.with_suffix(".part.npz")
        np.savez_compressed(partial, **arrays)
        partial.replace(path)
        print(f"{name} {arrays['E'].shape} nv {arrays['nv']} {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
