from __future__ import annotations

import pytest
import torch

from optiscale.config.study import Length, Schedule
from optiscale.training.module import schedule_factor


def test_the_published_schedule_is_torchs_warm_up_and_cosine() -> None:
    lr, start = 6e-4, 1e-7
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=lr)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=start / lr, total_iters=5)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=500)
    both = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm_up, cosine], milestones=[5])
    factor = schedule_factor(Schedule(), Length(epochs=500), lr)
    for epoch in range(500):
        assert lr * factor(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), epoch
        optimizer.step()
        both.step()


def test_a_schedule_without_warm_up_starts_at_the_full_rate() -> None:
    factor = schedule_factor(Schedule(warmup=0), Length(steps=100), 1e-3)
    assert factor(0) == 1
    assert factor(50) == pytest.approx(0.5)
    assert factor(100) == pytest.approx(0)
