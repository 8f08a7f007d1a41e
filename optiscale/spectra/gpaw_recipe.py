"""Optical spectrum of one crystal from GPAW: a program for the interpreter that has GPAW.

It reads one job (JSON) on standard input and writes one record, ``<id>.npz``, or, if the calculation fails for this
material, ``<id>.failed.json`` with the reason. ``--check`` prints what is installed. It imports nothing of ours, so
that it runs under an interpreter (a system's, a conda environment's) where OptiScale is not installed.

The spectrum: PBE, independent particles, no spin polarization, no spin-orbit coupling, no local fields. Interband part
``eps = 1 - 4 pi chi0_vv(q = 0)`` and squared plasma-frequency tensor, both from
``gpaw.response.df.DielectricFunction``.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HARTREE = 27.211386  # eV, as in the records of version 1

_COMMON: dict[str, Any] = {
    "xc": "PBE",
    "cutoff": 340.0,  # eV
    "fermi_width": 0.1,  # eV
    "scf_length": 11.0,  # Å: mesh of the self-consistent density, 2 round(length / |a_i|) points along a_i
    "scf_points_min": 4,
    "bands_length": 23.0,  # Å: mesh of the bands at fixed density
    "bands_points_min": 6,
    "mesh_of": "cell",
    "small_cell": None,  # atoms: smaller cells get a denser mesh of the bands
    "bands_per_atom": 10.0,  # bands above half the valence electrons: the larger of these two
    "bands_per_volume": 0.52,  # 1 / Å^3
    "buffer_bands": 6,  # helpers of the eigensolver, unused in the spectrum
    "emax_needed": 20.5,  # eV above E_F that the bands must reach everywhere
    "more_bands": None,  # factor on the empty bands where they do not
    "refine_rougher": None,  # roughness of a spectrum above which the mesh is made twice as dense
    "refine_work_max": 2700,  # but not if irreducible points x atoms^2 of the first mesh are more: hours
    "eta": 0.1,  # eV
    "energy_max": 20.0,  # eV
    "energy_points": 2001,
    # Valence electrons of the light pseudopotentials; elements that are not named take GPAW's default.
    "setups": {
        "Na": "1", "Mg": "2", "Rh": "9", "Ir": "9", "Ag": "11", "Ni": "10", "Pd": "10", "Pt": "10",
        "V": "5", "Nb": "5", "Ta": "5", "Mo": "6", "W": "6", "Ru": "8", "Os": "8",
    },
}  # fmt: skip

_FAST: dict[str, Any] = {
    "mixer": [0.25, 5, 1.0],
    "scf_convergence": {"density": 1e-4, "eigenstates": 1e-4},
    "bands_converge_to": 21.0,
    "bands_convergence": 0.03,
    "head_only": True,
}

_DENSER: dict[str, Any] = {
    "mesh_of": "reciprocal",
    "small_cell": 3,  # atoms
    "more_bands": 1.3,
    "setups": _COMMON["setups"] | {"Mn": "7"},
}

RECIPES: dict[int, dict[str, Any]] = {
    # The first 69 materials and some more. It asks the eigensolver for far more than the spectrum can show.
    1: _COMMON
    | {
        "mixer": None,
        "scf_convergence": {"density": 1e-4},
        "bands_converge_to": None,  # eV above E_F; None: every band of the spectrum
        "bands_convergence": 1e-5,
        "head_only": False,
    },
    # The same physics and meshes in less time; measured against version 1 in docs/ab-initio.md.
    2: _COMMON | _FAST,
    # Denser meshes for small cells and for those whose vectors are far from orthogonal, a second try with more bands,
    # and the light pseudopotential of an element that no earlier material had.
    3: _COMMON | _FAST | _DENSER,
    # A second, twice as dense mesh where the spectrum shows the first one.
    4: _COMMON | _FAST | _DENSER | {"refine_rougher": 0.08},  # docs/ab-initio.md compares roughness and error
    # The second mesh only where it takes minutes: a rough spectrum of a larger cell is flagged instead.
    5: _COMMON | _FAST | _DENSER | {"refine_rougher": 0.08, "refine_work_max": 300},
}
NEWEST = max(RECIPES)


class RecipeError(Exception):
    """The material cannot be computed by this recipe."""


def mesh(atoms: Any, recipe: dict[str, Any], stage: str) -> list[int]:
    """Points of the k mesh along each cell vector, even, at least the recipe's smallest number.

    They are 2 round(length / |a_i|), or, from version 3 on, in proportion to the reciprocal vectors b_i with a product
    of (2 length)^3 / volume: the same for a cube, and as many for a skew cell, whose |a_i| are long for its volume.
    Axes that a symmetry of the lattice mixes get the same number, since GPAW needs a mesh with the crystal's symmetry.
    For the bands of n < 3 atoms the length is (3 / n)^(1/3) times as large: small cells are cheap and vary more with k.
    The stage is ``"scf"`` or ``"bands"``.
    """
    length = recipe[f"{stage}_length"]
    if stage == "bands" and recipe["small_cell"]:
        length *= max(1.0, recipe["small_cell"] / len(atoms)) ** (1 / 3)
    if recipe["mesh_of"] == "cell":
        points = length / np.linalg.norm(atoms.cell.array, axis=1)
    else:
        reciprocal = np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
        points = length * reciprocal / (reciprocal.prod() * atoms.get_volume()) ** (1 / 3)
        points = np.array([np.exp(np.log(points[mixed]).mean()) for mixed in mixed_axes(atoms.cell.array)])
    return [max(recipe[f"{stage}_points_min"], 2 * round(number)) for number in points]


def mixed_axes(cell: np.ndarray) -> np.ndarray:
    """Which axes the symmetries of a lattice mix, (3, 3) bool, itself included.

    A symmetry takes each vector to a sum of vectors with coefficients -1, 0 or 1 and keeps all lengths and angles.
    """
    metric = cell @ cell.T
    rows = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    squares = np.einsum("ri,ij,rj->r", rows, metric, rows)
    tolerance = 1e-5 * np.trace(metric)
    images = [rows[np.abs(squares - metric[axis, axis]) < tolerance] for axis in range(3)]
    mixed = np.eye(3, dtype=bool)
    for operation in itertools.product(*images):
        matrix = np.array(operation)
        if np.abs(matrix @ metric @ matrix.T - metric).max() < tolerance:
            mixed |= matrix != 0
    mixed |= mixed.T
    return np.linalg.matrix_power(mixed.astype(int), 3) > 0


def ground_state(atoms: Any, recipe: dict[str, Any]) -> Any:
    """Self-consistent density; slower, more cautious mixing if the first try does not converge."""
    from gpaw import GPAW, PW, FermiDirac, KohnShamConvergenceError, Mixer

    parameters: dict[str, Any] = {
        "mode": PW(recipe["cutoff"]),
        "xc": recipe["xc"],
        "kpts": {"size": mesh(atoms, recipe, "scf"), "gamma": True},
        "occupations": FermiDirac(recipe["fermi_width"]),
        "setups": {symbol: recipe["setups"][symbol] for symbol in set(atoms.symbols) if symbol in recipe["setups"]},
        "convergence": recipe["scf_convergence"],
        "txt": None,
        "maxiter": 120,
    }
    mixers = [recipe["mixer"], [0.05, 8, 100.0]] if recipe["mixer"] else [None]
    for attempt, mixer in enumerate(mixers):
        calculator = GPAW(**parameters, **({"mixer": Mixer(*mixer)} if mixer else {}))
        atoms.calc = calculator
        try:
            atoms.get_potential_energy()
        except KohnShamConvergenceError:
            if attempt == len(mixers) - 1:
                raise RecipeError("the density does not become self-consistent") from None
        else:
            return calculator
    raise AssertionError


def bands(calculator: Any, recipe: dict[str, Any]) -> tuple[Any, int, float]:
    """Bands at fixed density on the fine mesh.

    Returns
    -------
    calculator, nbands, emax
        The calculator with the bands, the number of them that the spectrum uses, and the energy (eV above E_F) up to
        which these are complete.
    """
    atoms = calculator.atoms
    empty = max(recipe["bands_per_atom"] * len(atoms), recipe["bands_per_volume"] * atoms.get_volume())
    for factor in [1.0, recipe["more_bands"]] if recipe["more_bands"] else [1.0]:
        nbands = int(calculator.wfs.nvalence / 2 + factor * empty)
        with_bands = fixed_density(calculator, nbands, recipe)
        n_points = len(with_bands.get_ibz_k_points())
        top = min(with_bands.get_eigenvalues(kpt=point)[nbands - 1] for point in range(n_points))
        emax = float(top - with_bands.get_fermi_level())
        if emax >= recipe["emax_needed"]:
            return with_bands, nbands, emax
    raise RecipeError(f"{nbands} bands reach only {emax:.1f} eV above E_F; {recipe['emax_needed']} eV are needed")


def fixed_density(calculator: Any, nbands: int, recipe: dict[str, Any]) -> Any:
    """Make a calculator with `nbands` converged bands on the fine mesh."""
    from gpaw import KohnShamConvergenceError

    limit = recipe["bands_converge_to"]
    try:
        return calculator.fixed_density(
            kpts={"size": mesh(calculator.atoms, recipe, "bands"), "gamma": True},
            nbands=nbands + recipe["buffer_bands"],
            convergence={
                "bands": nbands if limit is None else f"CBM+{limit}",
                "eigenstates": recipe["bands_convergence"],
            },
            txt=None,
            maxiter=80,
        )
    except KohnShamConvergenceError:
        raise RecipeError("the bands at fixed density do not converge") from None


def response(calculator: Any, nbands: int, recipe: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Interband dielectric function and squared plasma frequency.

    Returns
    -------
    eps_inter
        (3, n_omega), complex64, along x, y, z.
    omega_D2
        (3, 3), eV^2.
    """
    from gpaw.response.df import DielectricFunction
    from gpaw.response.integrators import PointIntegrator

    function = DielectricFunction(
        calc=calculator,
        frequencies=np.linspace(0.0, recipe["energy_max"], recipe["energy_points"]),
        eta=recipe["eta"],
        ecut=1,  # eV: no reciprocal lattice vector but zero, so no local fields
        hilbert=False,
        nbands=nbands,
        txt=None,
        intraband=False,
    )
    if recipe["head_only"]:
        # At q = 0 and G = 0 the matrix elements are those of the momentum, and they overwrite what this method returns:
        # a Fourier transform for each pair of bands, a third of the time of the response.
        function.chi0.pair.calculate_pair_densities = lambda *_arguments, **_keywords: 0.0
        PointIntegrator.update = add_pairs
    chi = function.calculate_chi0([0, 0, 0])[-1]  # (n_omega, 3, 3)
    eps_inter = np.array([1 - 4 * np.pi * chi[:, axis, axis] for axis in range(3)])
    return eps_inter.astype(np.complex64), np.asarray(function.chi0.plasmafreq_vv).real * HARTREE**2


def add_pairs(
    _integrator: Any,
    elements: np.ndarray,
    energies: np.ndarray,
    grid: Any,
    chi0: np.ndarray,
    timeordered: bool = False,
    eta: float = 0.0,
) -> None:
    """Add the pairs of bands of one k point to the response, in place of a method of GPAW's ``PointIntegrator``.

    The same sum, [1 / (omega + E + i eta) - 1 / (omega - E + i eta)] p p+ or -2 E / [(omega + i eta)^2 - E^2] p p+,
    for all frequencies at once; GPAW takes one after the other, which is most of the response's time.

    Parameters
    ----------
    elements
        (m, 3), p of each pair of bands.
    energies
        (m), differences E of band energies, hartree.
    grid
        Its ``omega_w`` (n_omega) holds the frequencies, hartree.
    chi0
        (n_omega, 3, 3), changed in place.
    """
    if timeordered:
        raise ValueError("the retarded response only")
    poles = 1 / ((grid.omega_w[:, None] + 1j * eta) ** 2 - energies**2)  # (n_omega, m)
    products = -2 * energies[:, None, None] * elements[:, :, None] * elements[:, None, :].conj()  # (m, 3, 3)
    chi0 += (poles @ products.reshape(len(energies), -1)).reshape(chi0.shape)


def roughness(eps_inter: np.ndarray, width: float = 0.15) -> float:
    """Part of a spectrum that is finer than the broadening: what a k mesh leaves where it is too coarse.

    The relative L1 distance of omega Im eps from its average over a Gaussian of standard deviation `width` (eV), which
    is wide enough to leave little of a converged spectrum but its sharpest peaks.

    Parameters
    ----------
    eps_inter
        (2001,) complex, average over the directions, on 0 to 20 eV.
    """
    energies = np.linspace(0, _COMMON["energy_max"], _COMMON["energy_points"])
    spectrum = energies * eps_inter.imag
    half = round(4 * width / energies[1])
    window = np.exp(-0.5 * (np.arange(-half, half + 1) * energies[1] / width) ** 2)
    smooth = np.convolve(np.pad(spectrum, half, mode="edge"), window / window.sum(), mode="valid")
    return float(np.abs(spectrum - smooth).sum() / np.abs(spectrum).sum())


def change(coarse: np.ndarray, fine: np.ndarray) -> float:
    """Relative L1 distance of omega Im eps, averaged over the directions, of two (3, n_omega) spectra on one grid."""
    one, other = (np.arange(spectrum.shape[-1]) * spectrum.mean(axis=0).imag for spectrum in (coarse, fine))
    return float(np.abs(one - other).sum() / np.abs(other).sum())


def compute(job: dict[str, Any]) -> dict[str, Any]:
    """Every field of the record of one job."""
    import gpaw
    from ase import Atoms

    version = job["recipe_version"]
    recipe = RECIPES[version] | job.get("changes", {})  # studies of convergence change a number
    atoms = Atoms(numbers=job["numbers"], positions=job["positions"], cell=job["cell"], pbc=True)
    wall_start = time.perf_counter()
    start = time.process_time()
    density = ground_state(atoms, recipe)
    energy = atoms.get_potential_energy()
    cpu_s = [time.process_time() - start, 0.0, 0.0]  # density, bands, response

    def spectrum_of(recipe: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, int, float, float]:
        began = time.process_time()
        calculator, nbands, emax = bands(density, recipe)
        bands_done = time.process_time()
        work = len(calculator.get_ibz_k_points()) * len(atoms) ** 2
        result = *response(calculator, nbands, recipe), nbands, emax, work
        cpu_s[1] += bands_done - began
        cpu_s[2] += time.process_time() - bands_done
        return result

    eps_inter, omega_D2, nbands, emax, work = spectrum_of(recipe)
    refined: dict[str, Any] = {}
    limit = recipe["refine_rougher"]
    if limit and work <= recipe["refine_work_max"] and roughness(eps_inter.mean(axis=0)) > limit:
        coarse, coarse_D2 = eps_inter, omega_D2
        recipe = recipe | {"bands_length": 2 * recipe["bands_length"]}
        eps_inter, omega_D2, nbands, emax, _ = spectrum_of(recipe)
        drude = [float(np.sqrt(np.trace(tensor) / 3)) for tensor in (coarse_D2, omega_D2)]
        refined = {"mesh_change": change(coarse, eps_inter), "omega_D_change": drude[1] - drude[0]}
    return {
        "cell": atoms.cell.array,
        "numbers": atoms.numbers,
        "positions": atoms.positions,
        "eps_inter": eps_inter,
        "omega_D2": omega_D2,
        "kpts": mesh(atoms, recipe, "bands"),
        "kpts_scf": mesh(atoms, recipe, "scf"),
        "nbands": nbands,
        "emax": emax,
        "energy": energy,
        "volume_scale": job["volume_scale"],
        "prototype": job["prototype"],
        "gpaw": gpaw.__version__,
        "recipe_version": version,
        "wall_s": time.perf_counter() - wall_start,
        "cpu_s": cpu_s,
        "plan": job["plan"],
    } | refined


def write_atomically(path: Path, save: Any) -> None:
    """Let `save` write a hidden file beside `path`, then give it the name."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    with os.fdopen(handle, "wb") as stream:
        save(stream)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).chmod(0o644)
    Path(name).replace(path)


def check() -> dict[str, str]:
    """Versions of what the recipe needs, and whether GPAW finds its pseudopotentials."""
    import ase
    import gpaw
    from gpaw.setup_data import SetupData

    SetupData("Al", "PBE")  # raises FileNotFoundError without the data sets
    return {"gpaw": gpaw.__version__, "ase": ase.__version__, "numpy": np.__version__, "python": sys.executable}


def main() -> int:
    """Run one job; 0 if a record or a failure was written."""
    if sys.argv[1:] == ["--check"]:
        print(json.dumps(check()))
        return 0
    job = json.load(sys.stdin)
    os.nice(job.get("nice", 0))
    out = Path(job["out"])
    start = time.perf_counter()
    try:
        record = compute(job)
    # What the material is to blame for. Anything else (no memory, full disk, no GPAW) ends the program.
    except (RecipeError, ArithmeticError, AssertionError, LookupError, RuntimeError, ValueError) as error:
        failure = {
            "id": job["id"],
            "reason": f"{type(error).__name__}: {error}",
            "recipe_version": job["recipe_version"],
            "wall_s": time.perf_counter() - start,
        }
        text = json.dumps(failure, indent=1) + "\n"
        write_atomically(out / f"{job['id']}.failed.json", lambda stream: stream.write(text.encode()))
    else:
        write_atomically(out / f"{job['id']}.npz", lambda stream: np.savez_compressed(stream, **record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
