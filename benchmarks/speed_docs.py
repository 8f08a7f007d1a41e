"""Fill the page of measurements with the speeds of training that `optiscale bench` measured.

    python benchmarks/speed_docs.py

Reads benchmarks/results/speed_cpu.json and speed_cpu_displaced.json; the page names the commands that make them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optiscale.bench.table import markdown
from optiscale.io import atomic_write, read_json

FOLDER = Path(__file__).parent
PAGE = FOLDER / "README.md"
MARKS = "<!-- benchmarks/speed_docs.py -->\n", "<!-- end -->"
ROWS = ("atom", "edge", "angle")


def filled() -> str:
    """Return the page with the numbers of the results."""
    symmetric, displaced = (
        read_json(FOLDER / "results" / f"{name}.json") for name in ("speed_cpu", "speed_cpu_displaced")
    )
    before, _, rest = PAGE.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}{_numbers(symmetric, displaced)}{MARKS[1]}{after}"


def _numbers(symmetric: dict[str, Any], displaced: dict[str, Any]) -> str:
    counts = [
        ("whole", [symmetric["whole_graph"][f"{row}s"] for row in ROWS]),
        ("merged", [symmetric["merged_graph"][row] for row in ROWS]),
        (f"merged, atoms displaced by {displaced['rattle']} Å", [displaced["merged_graph"][row] for row in ROWS]),
    ]
    lines = [f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |" for name, values in counts]
    versions = ", ".join(f"{name} {number}" for name, number in symmetric["versions"].items())
    return "\n".join(
        [
            "",
            f"Rows a crystal, mean of {symmetric['n']} crystals:",
            "",
            "| | atoms | edges | angles |\n|---|---|---|---|",
            *lines,
            "",
            f"Crystals a second on {symmetric['device']}, Python {symmetric['python']}, {versions}; batch "
            f"{symmetric['batch_size']}, {symmetric['precision']}; ours with Lightning, the plain path without:",
            "",
            markdown(symmetric),
            "",
            f"The same with atoms displaced by {displaced['rattle']} Å, where next to nothing is equal:",
            "",
            markdown(displaced),
            "",
            "",
        ]
    )


if __name__ == "__main__":
    text = filled()
    with atomic_write(PAGE, "w") as stream:
        stream.write(text)
