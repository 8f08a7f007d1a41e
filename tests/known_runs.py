"""A study of one network on two widths, and records of its runs that took what is known."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from small import study_content

from optiscale.config import Study, parse_study
from optiscale.sweep.cost import Rates, work_of
from optiscale.training import Cell
from optiscale.training.record import identity

TRUE = Rates(
    step=0.01, crystal=0.002, epoch=0.05, validation=0.3, begin=0.0, memory=500.0, memory_crystal=0.0, source=""
)


def study_of(source: Path | str = "x", **training: object) -> Study:
    content = study_content(source)
    content["training"] = {**content["training"], **training}  # type: ignore[dict-item]
    content["grid"] = [{"model": "2B", "widths": [8, 16], "data_sizes": [4, 8, 16], "seeds": [1, 42]}]
    return parse_study(content)


def record(study: Study, cell: Cell, **fields: object) -> dict[str, Any]:
    work = work_of(study, cell)
    row = identity(study, cell, N=1, data_hash="data", git_commit="")
    took = {"wall_s": TRUE.cost(work).seconds, "validation_s": work.validations * TRUE.validation}
    return {
        **row,
        **took,
        "status": "finished",
        "peak_memory_mb": 612.0,
        "device": "cpu, 1 threads",
        "host": platform.node(),
        **fields,
    }
