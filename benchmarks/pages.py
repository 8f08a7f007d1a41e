"""Fill what stands between two marks of a page."""

from __future__ import annotations

from pathlib import Path

from optiscale.io import atomic_write


def fill(page: Path, marks: tuple[str, str], text: str) -> None:
    """Put text between the marks of a page, which stay.

    Raises
    ------
    SystemExit
        If the page does not have both marks: nothing is written then.
    """
    whole = page.read_text(encoding="utf-8")
    before, first, rest = whole.partition(marks[0])
    _, last, after = rest.partition(marks[1])
    if not (first and last):
        raise SystemExit(f"{page}: the marks {marks[0].strip()} and {marks[1].strip()} are not there; put them in")
    with atomic_write(page, "w") as stream:
        stream.write(before + first + text + last + after)
