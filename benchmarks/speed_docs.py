"""Fill the page of measurements with the speeds of training that `optiscale bench` measured.

    python benchmarks/speed_docs.py

Reads speed_cpu.json, speed_h200.json, their displaced siblings, side_by_side.json and compile_time.json in
benchmarks/results; the page names the commands that make them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optiscale.bench.roofline import roofline_rate
from optiscale.bench.table import markdown
from optiscale.io import atomic_write, read_json

FOLDER = Path(__file__).parent
PAGE = FOLDER / "README.md"
MARKS = "<!-- benchmarks/speed_docs.py: {} -->\n", "<!-- end -->"
ROWS = ("atom", "edge", "angle")
#: ratios in training that were aimed at on one H200, and the share of the roofline from this width on
TARGETS = {
    "2B-TC": {16: 30, 32: 30, 64: 30, 128: 30, 256: 25, 1024: 8},
    "3B-TC": {16: 20, 64: 12, 256: 8, 1024: 4},
}
ROOFLINE = (256, 0.5)


def filled() -> str:
    """Return the page with the numbers of the results."""
    text = PAGE.read_text(encoding="utf-8")
    for device, numbers in (("cpu", _cpu), ("h200", _card)):
        found, displaced = (
            read_json(FOLDER / "results" / f"speed_{device}{ending}.json") for ending in ("", "_displaced")
        )
        before, mark, rest = text.partition(MARKS[0].format(device))
        _, _, after = rest.partition(MARKS[1])
        text = f"{before}{mark}{numbers(found, displaced)}{MARKS[1]}{after}"
    return text


def _cpu(symmetric: dict[str, Any], displaced: dict[str, Any]) -> str:
    counts = [
        ("whole", [symmetric["whole_graph"][f"{row}s"] for row in ROWS]),
        ("merged", [symmetric["merged_graph"][row] for row in ROWS]),
        (f"merged, atoms displaced by {displaced['rattle']} Å", [displaced["merged_graph"][row] for row in ROWS]),
    ]
    lines = [f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |" for name, values in counts]
    head = [
        f"Rows a crystal, mean of {symmetric['n']} crystals:",
        "",
        "| | atoms | edges | angles |\n|---|---|---|---|",
    ]
    return "\n".join(["", *head, *lines, *_tables(symmetric, displaced), "", _demo(), *_profile("cpu"), "", ""])


def _demo() -> str:
    found = read_json(FOLDER / "results" / "demo_speed.json")
    seconds, ratio = found["seconds"], found["ratio"]
    each = ", ".join(
        f"{row['model']} {row['width']}: {row['plain_ms']:.0f} and {row['auto_ms']:.0f}" for row in found["rows"]
    )
    return (
        f"The demo study takes {seconds['plain']:.0f} s of a processor with the plain path, {seconds['auto']:.0f} s "
        f"with ours, a ratio of {ratio:.2f} (both with Lightning, one thread a run; milliseconds a step with its share "
        f"of the validations: {each})."
    )


def _card(symmetric: dict[str, Any], displaced: dict[str, Any]) -> str:
    hours = symmetric["grid_hours"]
    grid = (
        f"The published grid (two networks, seven widths, seven sizes, three seeds, 500 epochs with a validation after "
        f"each) takes {hours['fast']:.1f} hours at these rates, {hours['plain']:.0f} with the plain path."
    )
    rates = f"Measured on the card: {symmetric['matrix_tflops']:.0f} TFLOP/s, {symmetric['copy_tbytes']:.1f} TB/s."
    return "\n".join(
        [
            *_tables(symmetric, displaced),
            "",
            f"{rates} {grid}",
            "",
            *_targets(symmetric),
            *_profile("cuda"),
            "",
            _together(),
            "",
            "",
        ]
    )


def _profile(device: str) -> list[str]:
    """Say what a step spends its time on; nothing where that was not measured."""
    path = FOLDER / "results" / f"step_profile_{device}.json"
    if not path.exists():
        return []
    found = read_json(path)
    kinds = list(found["rows"][0]["kinds_ms"])
    lines = [
        f"What a step spends its time on, milliseconds ({found['device']}, batch {found['batch_size']}, "
        f"{found['precision']}, without Lightning; [{path.name}](results/{path.name}), `python "
        f"benchmarks/step_profile.py`; the profiler slows what it counts):",
        "",
        f"| network, width | path | step | calls | {' | '.join(kinds)} |",
        f"|---|---|---|---|{'---|' * len(kinds)}",
    ]
    for row in found["rows"]:
        times = " | ".join(f"{row['kinds_ms'][kind]:.2f}" for kind in kinds)
        head = f"{row['model']} {row['width']} | {row['path']} | {row['step_ms']:.2f} | {row['operations']:,.0f}"
        lines.append(f"| {head} | {times} |")
    return ["", *lines]


def _together() -> str:
    """Say what several runs on one card get, and when compiling pays."""
    found, compiling = (read_json(FOLDER / "results" / f"{name}.json") for name in ("side_by_side", "compile_time"))
    rates = [
        f"{row['processes']}{' with the service' if row['mps'] else ''}: {row['rate']:,.0f}" for row in found["rows"]
    ]
    one = found["rows"][0]
    lines = [
        f"Runs of {one['model']} {one['width']} on one {found['device']} at once, crystals a second together, a "
        f"validation after each epoch included: {'; '.join(rates)}.",
        "",
        "| network, width | captured step, ms | compiled and captured, ms | compiling, s | from the cache, s "
        "| paid after, steps | from the cache |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in compiling["rows"]:
        times = [f"{1e3 * row[f'{kind}_step_s']:.2f}" for kind in ("captured", "compiled")]
        seconds = [f"{row[f'{kind}_s']:.0f}" for kind in ("cold", "warm")]
        steps = [f"{row[f'pays_after_{kind}']:,.0f}" for kind in ("cold", "warm")]
        lines.append(f"| {row['model']} {row['width']} | {' | '.join([*times, *seconds, *steps])} |")
    named = {"Runs at once": found, "Compiling": compiling}
    notes = [f"{name}: {one['note']}." for name, one in named.items() if "note" in one]
    return "\n".join([*lines, "", *notes])


def _targets(found: dict[str, Any]) -> list[str]:
    """Set what was reached beside what was aimed at."""
    lines = ["| network, width | ratio aimed at | reached | |", "|---|---|---|---|"]
    rates = {"tflops": found["matrix_tflops"], "tbytes": found["copy_tbytes"]}
    shares = []
    for row in found["rows"]:
        target = TARGETS.get(row["model"], {}).get(row["width"])
        ratio = row["fast_train"] / row["plain_train"]
        if target is not None:
            verdict = "" if ratio >= target else "**missed**"
            lines.append(f"| {row['model']} {row['width']} | {target} | {ratio:.1f} | {verdict} |")
        if row["width"] >= ROOFLINE[0]:
            shares.append(row["fast_train"] / roofline_rate(row, **rates))
    aim = f"From width {ROOFLINE[0]} on, above {100 * ROOFLINE[1]:.0f} % of the roofline was aimed at"
    return [*lines, "", f"{aim}; reached: {100 * min(shares):.0f} to {100 * max(shares):.0f} %."]


def _tables(symmetric: dict[str, Any], displaced: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in symmetric["versions"].items())
    if commit := symmetric.get("commit"):
        versions += f", optiscale at {commit[:7]}"
    return [
        "",
        f"Crystals a second on {symmetric['device']}, Python {symmetric['python']}, {versions}; batch "
        f"{symmetric['batch_size']}, {symmetric['precision']}; ours with Lightning, the plain path without:",
        "",
        markdown(symmetric),
        "",
        f"The same with atoms displaced by {displaced['rattle']} Å, where next to nothing is equal:",
        "",
        markdown(displaced),
    ]


if __name__ == "__main__":
    text = filled()
    with atomic_write(PAGE, "w") as stream:
        stream.write(text)
