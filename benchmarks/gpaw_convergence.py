"""How far the spectra of the GPAW recipe are converged in k mesh, plane-wave cutoff and number of bands.

``python benchmarks/gpaw_convergence.py OUT`` computes what OUT lacks (some 20 minutes of one core), writes
``benchmarks/results/gpaw_convergence.json``, the tables between the marks in ``docs/ab-initio.md``, and the picture
``docs/ab-initio/convergence.png``. ``--no-compute`` draws from the JSON file alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from optiscale.figures.style import ONE_COLUMN, TWO_COLUMNS, log_axis, new_figure, panel_label, paper_style, save_figure
from optiscale.io import atomic_write, read_json, write_json
from optiscale.spectra import ENERGIES, Record, read_record
from optiscale.spectra.compute import recipe_job
from optiscale.spectra.gpaw_recipe import RECIPES
from optiscale.spectra.interpreter import RECIPE_FILE, find_gpaw
from optiscale.spectra.records import ROUGHNESS_MAX
from optiscale.structures import INTERMETALLICS, INTERMETALLICS_1, PlannedMaterial, plan_materials

VERSION = 3
# Cheap cells of 1 to 4 atoms: simple and transition metals, light and heavy, cubic and hexagonal.
MATERIALS = (
    "A1_Al", "A1_Cu", "A2_W", "A3_Mg", "B2_Ni-Al", "B2_Mg-Al", "C1_Au-Al", "C1_b_Pb-W-Co", "L1_2_Al-Ni",
    "L2_1_Ti-Ag-Tl",
)  # fmt: skip
MESHES = {"0.5": 0.5, "0.7": 0.7, "1": 1.0, "1.4": 1.4}
FINEST = "1.4"
# Cutoff and bands are judged on the mesh "0.7": what they change hardly depends on the mesh.
OTHERS: dict[str, dict[str, float]] = {
    "cutoff": {"cutoff": 450.0},
    "bands": {"bands_per_atom": 15.0, "bands_per_volume": 0.78},
    "density": {"scf_length": 16.0},
}
ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "gpaw_convergence.json"
DOCUMENT = ROOT / "docs" / "ab-initio.md"
BEGIN, END = "<!-- benchmarks/gpaw_convergence.py -->", "<!-- end of convergence -->"


def variants() -> dict[str, dict[str, float]]:
    """Name the changes of the recipe."""
    length = RECIPES[VERSION]["bands_length"]
    meshes = {name: {"bands_length": length * factor} for name, factor in MESHES.items()}
    return meshes | {name: meshes["0.7"] | change for name, change in OTHERS.items()}


def record_of(material: PlannedMaterial, name: str, changes: dict[str, float], out: Path, python: str) -> Record:
    """Compute one material with one change of the recipe, unless it is there already."""
    folder = out.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{material.id}.npz"
    if not path.exists():
        job = recipe_job(material, out=folder, plan=INTERMETALLICS, version=VERSION, nice=10, changes=changes)
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([python, str(RECIPE_FILE)], input=json.dumps(job), text=True, check=True, env=one_thread)
    return read_record(path)


def distance(record: Record, reference: Record) -> dict[str, float]:
    """Relative L1 of omega Im eps and difference of omega_D in eV."""
    loss = ENERGIES * np.abs(record.eps_inter.imag - reference.eps_inter.imag)
    weight = ENERGIES * np.abs(reference.eps_inter.imag)
    return {"eps2": float(loss.sum() / weight.sum()), "omega_D": record.omega_D - reference.omega_D}


def study(material: PlannedMaterial, out: Path, python: str) -> dict[str, Any]:
    """All numbers of one material."""
    records = {name: record_of(material, name, changes, out, python) for name, changes in variants().items()}
    volume = records[FINEST].atoms.get_volume()
    meshes = {
        name: distance(records[name], records[FINEST])
        | {
            "kpts": records[name].provenance["kpts"],
            # Distance of neighbouring points: the cube root of the volume of the zone a point has, 1/Å.
            "spacing": float(2 * np.pi * (volume * np.prod(records[name].provenance["kpts"])) ** (-1 / 3)),
            "omega_D_itself": records[name].omega_D,
            "roughness": records[name].provenance["roughness"],
        }
        for name in MESHES
    }
    others = {name: distance(records[name], records["0.7"]) for name in OTHERS}
    return {"id": material.id, "n_atoms": len(records[FINEST].atoms), "meshes": meshes, "others": others}


def compute(out: Path) -> list[dict[str, Any]]:
    """Study every material, cheapest first."""
    python = find_gpaw()
    known = {m.id: m for m in (*plan_materials(200, plan=INTERMETALLICS_1), *plan_materials(200))}
    rows = []
    for name in MATERIALS:
        rows.append(study(known[name], out, python))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of the Markdown tables."""
    names = [name for name in MESHES if name != FINEST]
    lines = [
        "| material | mesh of the recipe | "
        + " | ".join(f"mesh x {name}" for name in names)
        + " | 450 eV | bands x 1.5 "
        "| density mesh x 1.5 |",
        "|---|---|" + "---|" * (len(names) + len(OTHERS)),
    ]
    cells = []
    for row in rows:
        values = [row["meshes"][name] for name in names] + [row["others"][name] for name in OTHERS]
        cells.append([(100 * value["eps2"], value["omega_D"]) for value in values])
        mesh = " x ".join(map(str, row["meshes"]["1"]["kpts"]))
        lines.append(
            f"| {row['id']} | {mesh} | " + " | ".join(f"{one:.1f}, {two:+.2f}" for one, two in cells[-1]) + " |"
        )
    middle = np.median(np.abs(cells), axis=0)
    lines.append("| median | | " + " | ".join(f"{one:.1f}, {two:.2f}" for one, two in middle) + " |")
    return lines


def draw(rows: list[dict[str, Any]]) -> None:
    """Picture of the convergence with the mesh."""
    from matplotlib import colormaps

    with paper_style():
        figure = new_figure(width=TWO_COLUMNS, height=0.72 * ONE_COLUMN)
        left, right, judge = figure.subplots(1, 3)
        colors = colormaps["tab10"].colors
        for row, color in zip(rows, colors, strict=False):
            meshes = [row["meshes"][name] for name in MESHES if name != FINEST]
            spacing = [mesh["spacing"] for mesh in meshes]
            style = {"color": color, "marker": "o", "markersize": 3, "linewidth": 0.9}
            left.plot(
                spacing, [100 * mesh["eps2"] for mesh in meshes], label=" ".join(row["id"].rsplit("_", 1)), **style
            )
            right.plot(spacing, [mesh["omega_D"] for mesh in meshes], **style)
            rough = [100 * mesh["roughness"] for mesh in meshes]
            judge.plot(rough, [100 * mesh["eps2"] for mesh in meshes], **(style | {"linestyle": "none"}))
        values = [100 * row["meshes"][name]["eps2"] for row in rows for name in MESHES if name != FINEST]
        log_axis(left, "y", values=values)
        log_axis(judge, "y", values=values)
        log_axis(judge, "x", values=[100 * row["meshes"][name]["roughness"] for row in rows for name in MESHES])
        judge.axvline(100 * ROUGHNESS_MAX, color="black", linewidth=0.5)
        judge.set_xlabel("roughness (%)")
        judge.set_ylabel("difference of $\\omega\\,\\varepsilon_2$ (%)")
        left.set_ylabel("difference of $\\omega\\,\\varepsilon_2$ (%)")
        right.set_ylabel("difference of $\\omega_\\mathrm{D}$ (eV)")
        right.axhline(0, color="black", linewidth=0.5)
        for index, axes in enumerate((left, right, judge)):
            panel_label(axes, index)
        for axes in (left, right):
            axes.set_xlabel("distance of k points (Å$^{-1}$)")
            axes.locator_params(axis="x", nbins=4)
        figure.legend(loc="outside right center")
        save_figure(figure, DOCUMENT.with_suffix(""), "convergence")


def main() -> None:
    """Compute, write, draw."""
    if sys.argv[1:] == ["--no-compute"]:
        rows = read_json(RESULT)
    else:
        rows = compute(Path(sys.argv[1]))
        write_json(RESULT, rows)
    before, rest = DOCUMENT.read_text().split(BEGIN)
    after = rest.split(END)[1]
    with atomic_write(DOCUMENT, "w") as stream:
        stream.write(before + BEGIN + "\n" + "\n".join(table(rows)) + "\n" + END + after)
    draw(rows)


if __name__ == "__main__":
    main()
