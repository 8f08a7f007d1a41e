"""How close the tight-binding engine comes to density functional theory.

``python benchmarks/tight_binding.py BANDS benchmarks/data/tight_binding_bands`` compares the table with reference
bands (elements, which the fit has seen; binaries ``bin_*`` and pairs ``pair_*``, which it has not) and with the
embedded shelf of spectra (not seen either). It writes ``benchmarks/results/tight_binding.json`` and the tables of
``docs/tight-binding-accuracy.md``. Some minutes of one core.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from optiscale.dataset.shelf import read_shelf
from optiscale.errors import UserError
from optiscale.io import atomic_write, read_json, write_json
from optiscale.spectra import ENERGIES, Record
from optiscale.spectra.tight_binding import TightBinding
from optiscale.spectra.tight_binding.bloch import BlochInput
from optiscale.spectra.tight_binding.engine import Optics, TightBindingEngine
from optiscale.spectra.tight_binding.objective import band_rms
from optiscale.spectra.tight_binding.parameters import read_parameters
from optiscale.spectra.tight_binding.reference import ReferenceBands, read_reference

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "tight_binding.json"
DOCUMENT = ROOT / "docs" / "tight-binding-accuracy.md"
BINARIES = ROOT / "benchmarks" / "data" / "held_out_binaries.parquet"  # made by tight_binding_binaries.py
SLOPES = ROOT / "benchmarks" / "results" / "tight_binding_slopes.json"  # made by tight_binding_slopes.py
BATCH = 16
CLOSE = 0.8
"""eV: the aim for omega_D."""


def solve(engine: TightBindingEngine, crystals: Sequence[Atoms]) -> list[Optics | None]:
    """Spectra of crystals; None where the engine rejects one."""
    results: list[Optics | None] = []
    for first in range(0, len(crystals), BATCH):
        prepared = [
            engine.prepare(atoms.cell.array, atoms.numbers, atoms.positions)
            for atoms in crystals[first : first + BATCH]
        ]
        accepted = [crystal for crystal in prepared if isinstance(crystal, BlochInput)]
        solved = iter(engine.solve(accepted))
        for crystal in prepared:
            optics = next(solved) if isinstance(crystal, BlochInput) else None
            results.append(optics if isinstance(optics, Optics) else None)
        print(f"{len(results)} of {len(crystals)} spectra", flush=True)
    return results


def absorption_error(model: np.ndarray, reference: np.ndarray) -> float:
    """Relative L1 difference of omega eps2 over 0 to 20 eV."""
    difference = ENERGIES * np.abs(model.imag - reference.imag)
    return float(difference.sum() / (ENERGIES * np.abs(reference.imag)).sum())


def compare(reference: ReferenceBands, optics: Optics | None, denser: dict[str, Record]) -> dict[str, Any]:
    """One crystal of the reference bands; its spectrum comes from a denser mesh than its bands, where there is one."""
    result: dict[str, Any] = {"name": reference.name, "band_rms": band_rms(read_parameters(), reference)}
    source = denser.get(reference.name, reference)
    if optics is not None and source.omega_D is not None:
        result |= {"omega_D": optics.omega_D, "omega_D_reference": source.omega_D}
        result["omega_D_of_bands"] = reference.omega_D
    if optics is not None and source.eps_inter is not None:
        result["absorption"] = absorption_error(optics.eps_inter, source.eps_inter)
    return result


def compare_shelf(engine: TightBindingEngine) -> list[dict[str, Any]]:
    """Every material of the embedded shelf."""
    records = read_shelf()
    known = set(engine.model.elements)
    records = [record for record in records if set(record.atoms.get_chemical_symbols()) <= known]
    rows = []
    for record, optics in zip(records, solve(engine, [record.atoms for record in records]), strict=True):
        row: dict[str, Any] = {"name": record.id, "prototype": record.prototype, "omega_D_reference": record.omega_D}
        if optics is not None:
            row |= {"omega_D": optics.omega_D, "absorption": absorption_error(optics.eps_inter, record.eps_inter)}
        rows.append(row)
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Numbers over the rows that the engine solved."""
    solved = [row for row in rows if "absorption" in row]
    absorption = np.asarray([row["absorption"] for row in solved])
    drude = np.abs([row["omega_D"] - row["omega_D_reference"] for row in solved])
    return {
        "n": len(solved),
        "rejected": len(rows) - len(solved),
        "absorption_mean": float(absorption.mean()),
        "absorption_median": float(np.median(absorption)),
        "absorption_p90": float(np.quantile(absorption, 0.9)),
        "omega_D_mean": float(drude.mean()),
        "omega_D_median": float(np.median(drude)),
        "omega_D_p90": float(np.quantile(drude, 0.9)),
        "omega_D_close": float((drude <= CLOSE).mean()),
    }


def element_summary(elements: Sequence[dict[str, Any]]) -> tuple[float, list[tuple[str, float]]]:
    """Median over the elements of the mean RMS of their crystals, and the worst five."""
    by_element: dict[str, list[float]] = {}
    for row in elements:
        by_element.setdefault(row["name"].split("_")[1], []).append(row["band_rms"])
    means = {symbol: statistics.mean(values) for symbol, values in by_element.items()}
    return statistics.median(means.values()), sorted(means.items(), key=lambda item: -item[1])[:5]


def slope(row: dict[str, Any]) -> str:
    """Entry of the last column: omega_D from the slopes of the reference bands."""
    value = row["omega_D_of_slopes"]
    return "" if value is None else f"{value:.2f}"


def document(results: dict[str, Any]) -> str:
    """Return the Markdown page."""
    median, worst = results["elements_median"], results["elements_worst"]
    binaries, shelf = results["binaries"], results["shelf"]
    pairs = [row["band_rms"] for row in results["pairs"]]
    drude = [abs(row["omega_D"] - row["omega_D_reference"]) for row in binaries]
    absorption = statistics.mean(row["absorption"] for row in binaries)
    rms = statistics.mean(row["band_rms"] for row in binaries)
    lines = [
        "# Accuracy of the tight-binding engine",
        "",
        "Written by `python benchmarks/tight_binding.py BANDS`; the reference is density functional theory (GPAW,",
        "PBE). Band RMS: over the states at -12 to 5 eV, each side from its own Fermi level. Absorption: relative L1",
        "difference of omega eps2 over 0 to 20 eV. The fit has seen the bands and spectra of the",
        "elements, and no compound.",
        "",
        f"Elements ({results['n_elements']}): median band RMS {median:.3f} eV; worst "
        + ", ".join(f"{symbol} {value:.2f}" for symbol, value in worst)
        + ".",
        "",
        "The spectra of the binaries are those of the shelf's recipe (`benchmarks/tight_binding_binaries.py`); their",
        "bands come from meshes of 10^3 and 12^3 points, and the last but one column has omega_D of these: how far the",
        "reference itself depends on its mesh. The last column has omega_D from the slopes of the reference bands",
        "(`benchmarks/tight_binding_slopes.py`, mesh of 0.12/Å, where it was computed) instead of momentum matrix",
        "elements: what they leave open.",
        "",
        "| held-out binary | band RMS, eV | omega_D, eV | of the reference | error | absorption "
        "| of the bands' mesh | from slopes |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['name'].removeprefix('bin_')} | {row['band_rms']:.3f} | {row['omega_D']:.2f} "
            f"| {row['omega_D_reference']:.2f} | {row['omega_D'] - row['omega_D_reference']:+.2f} "
            f"| {row['absorption']:.2f} | {row['omega_D_of_bands']:.2f} | {slope(row)} |"
            for row in binaries
        ),
        f"| mean | {rms:.3f} | | | {statistics.mean(drude):.2f} | {absorption:.2f} | | |",
        "",
        f"Error of omega_D: mean {statistics.mean(drude):.2f}, median {statistics.median(drude):.2f}, largest "
        f"{max(drude):.2f} eV; at most {CLOSE} eV in {sum(error <= CLOSE for error in drude)} of {len(drude)} binaries"
        f" and {100 * shelf['all']['omega_D_close']:.0f} % of the shelf.",
        "",
        f"Random pairs of elements, B2 and L1_0 at volumes of 0.92 to 1.08 ({len(pairs)}): band RMS median "
        f"{statistics.median(pairs):.3f}, mean {statistics.mean(pairs):.3f}, largest {max(pairs):.2f} eV.",
        "",
        "The shelf's materials, by prototype:",
        "",
        "| prototype | materials | rejected | absorption: mean | median | 90 % below "
        "| omega_D error, eV: mean | median | 90 % below |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    columns = [f"{what}_{how}" for what in ("absorption", "omega_D") for how in ("mean", "median", "p90")]
    for name, row in shelf.items():
        numbers = " | ".join(f"{row[column]:.2f}" for column in columns)
        lines.append(f"| {name} | {row['n']} | {row['rejected']} | {numbers} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description="Compare the tight-binding engine with density functional theory.")
    parser.add_argument("bands", type=Path, nargs="+", help="folders of el_*.npz and bin_*.npz")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = TightBinding.load()
    n_valence = {symbol: element.n_valence for symbol, element in read_parameters().items()}
    paths = [path for folder in options.bands for path in sorted(folder.glob("*.npz"))]
    references = [read_reference(path, n_valence) for path in paths if path.stem.startswith(("el_", "bin_", "pair_"))]
    for group in ("el_", "bin_", "pair_"):
        if not any(reference.name.startswith(group) for reference in references):
            raise UserError(f"{', '.join(map(str, options.bands))}: no {group}*.npz; name the folder that has them too")
    engine = TightBindingEngine(model)
    optical = [reference for reference in references if reference.omega_D is not None]
    spectra = {
        reference.name: optics
        for reference, optics in zip(optical, solve(engine, [reference.atoms for reference in optical]), strict=True)
    }
    denser = {record.id: record for record in read_shelf(BINARIES)}
    rows = [compare(reference, spectra.get(reference.name), denser) for reference in references]
    elements = [row for row in rows if row["name"].startswith("el_")]
    median, worst = element_summary(elements)
    binaries = [row for row in rows if row["name"].startswith("bin_")]
    slopes = {name: row["omega_D"] for name, row in read_json(SLOPES)["materials"].items()}
    materials = compare_shelf(engine)
    prototypes = sorted({row["prototype"] for row in materials})
    shelf = {name: summary([row for row in materials if row["prototype"] == name]) for name in prototypes}
    results = {
        "elements": elements,
        "n_elements": len({row["name"].split("_")[1] for row in elements}),
        "elements_median": median,
        "elements_worst": worst,
        "pairs": [row for row in rows if row["name"].startswith("pair_")],
        "binaries": [row | {"omega_D_of_slopes": slopes.get(row["name"])} for row in binaries],
        "shelf": shelf | {"all": summary(materials)},
        "materials": materials,
    }
    write_json(RESULTS, results)
    with atomic_write(DOCUMENT, "w") as stream:
        stream.write(document(results))
    print(document(results))


if __name__ == "__main__":
    main()
