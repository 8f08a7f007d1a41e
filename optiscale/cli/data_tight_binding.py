"""`optiscale data build --source tight-binding`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from optiscale.errors import UserError

SOURCE = "tight-binding"
#: where data sets are written by default, as the studies in experiments/ name them
DATA = Path("data")
#: seconds between the lines of a log
LOG_SECONDS = 30.0
#: of what was skipped, printed at the end
SHOWN = 10


def run(
    *,
    n: int | None,
    seed: int,
    sites: str | None,
    strain: float,
    rattle: float,
    device: str,
    workers: int | None,
    out: Path | None,
) -> None:
    """Draw, solve and write `n` materials."""
    from optiscale.dataset.schema import MANIFEST
    from optiscale.dataset.tight_binding import build_tight_binding
    from optiscale.structures.substitution import PUBLISHED_SITES, SubstitutionPlan

    if n is None:
        raise UserError(f"--source {SOURCE} needs --n, the number of materials")
    chosen = PUBLISHED_SITES if sites is None else {k: PUBLISHED_SITES[k] for k in parse_sites(sites)}
    plan = SubstitutionPlan(seed=seed, sites=chosen, strain=strain, rattle=rattle)
    folder = out or DATA / f"{SOURCE}-{n}"
    if (folder / MANIFEST).exists():
        raise UserError(f"{folder}: a data set is there already; remove it or choose another folder with --out")
    try:
        with _progress(n) as report:
            dataset = build_tight_binding(folder, n=n, plan=plan, device=device, workers=workers, report=report)
    except KeyboardInterrupt:
        typer.echo(f"{folder}: interrupted; the same command goes on from there", err=True)
        raise typer.Exit(130) from None
    skipped = dataset.manifest.provenance["skipped"]
    for one in skipped[:SHOWN]:
        typer.echo(f"left out {one['item']}: {one['reason']}")
    if skipped:
        typer.echo(
            f"{len(skipped)} draws left out and replaced by the next; all in {MANIFEST} under provenance.skipped"
        )
    typer.echo(f"{dataset.folder}: {len(dataset)} materials, data hash {dataset.hash}")


def parse_sites(text: str) -> list[int]:
    """Numbers of sites from text such as ``4``, ``2-5`` or ``1,2,8-10``.

    Raises
    ------
    UserError
        If it is not such a list of numbers from 1 to 10.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,2})(?:-(\d{1,2}))?\s*", part)
        first = int(found[1]) if found else 0
        last = int(found[2] or first) if found else 0
        if not 1 <= first <= last <= 10:
            raise UserError(f"--sites {text}: give numbers from 1 to 10, such as 4, 2-5 or 1,2,8-10")
        numbers.update(range(first, last + 1))
    return sorted(numbers)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows how many materials there are."""
    console = Console(stderr=True)
    columns = (TextColumn("tight binding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    told = begun = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)

        def report(done: int) -> None:
            nonlocal told
            progress.update(task, completed=done)
            now = time.monotonic()
            if not console.is_terminal and (now - told > LOG_SECONDS or done == total):
                told = now
                console.print(f"{done} of {total} materials after {now - begun:.0f} s", highlight=False)

        yield report
