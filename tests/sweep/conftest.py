from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def short_measurement() -> Iterator[None]:
    """A run of the grid measures its networks for a moment only, not for five seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("optiscale.sweep.queue.RUN_S", 0.0)
        yield
