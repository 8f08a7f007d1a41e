"""Whether runs fit into the memory of this machine and its cards."""

from __future__ import annotations

import math
from collections.abc import Sequence

import psutil

from optiscale.config import Study
from optiscale.training import Cell
from optiscale.training.options import on_gpu


def memory_notes(study: Study, cells: Sequence[tuple[Cell, float]]) -> list[str]:
    """Say which runs need more memory than there is, alone or beside as many others as there are workers.

    Parameters
    ----------
    study
        The study.
    cells
        Those to run, and the MiB that each takes; NaN where that is not known.
    """
    notes = []
    on_cards = [one for one in cells if _on_card(study, one[0])]
    if on_cards:
        import torch

        room = torch.cuda.get_device_properties(0).total_memory / 2**20
        beside = -(-study.sweep.workers // torch.cuda.device_count())
        notes += _notes(on_cards, room, beside, f"the card ({torch.cuda.get_device_name()})")
    on_host = [one for one in cells if not _on_card(study, one[0])]
    room = psutil.virtual_memory().total / 2**20
    return [*notes, *_notes(on_host, room, study.sweep.workers, "this machine")]


def _on_card(study: Study, cell: Cell) -> bool:
    model = study.models[cell.model]
    if model.baseline is not None or not on_gpu(model.training):
        return False
    import torch

    return torch.cuda.is_available()


def _notes(cells: Sequence[tuple[Cell, float]], room: float, beside: int, where: str) -> list[str]:
    known = sorted((one for one in cells if not math.isnan(one[1])), key=lambda one: -one[1])
    large = [one for one in known if one[1] > room]
    if large:
        cell, memory = large[0]
        return [
            f"warning: {len(large)} runs need more memory than {where} has ({gib(room)}); {cell.id} needs "
            f"{gib(memory)}; on a card a run begins again with smaller micro-batches, elsewhere it is killed"
        ]
    together = sum(memory for _, memory in known[:beside])
    if beside > 1 and together > room:
        return [
            f"warning: the {beside} largest runs side by side need {gib(together)}, and {where} has {gib(room)}; "
            "give fewer --workers"
        ]
    return []


def gib(mib: float) -> str:
    """Write MiB as GiB."""
    return f"{mib / 1024:.3g} GiB"
