from __future__ import annotations

import pytest

from optiscale.laws import StudyFits, average_seeds, fit_study, load_published

from .reading import demo_losses


@pytest.fixture(scope="session")
def published() -> StudyFits:
    return fit_study(average_seeds(load_published()), protocol="published")


@pytest.fixture(scope="session")
def demo() -> StudyFits:
    losses = demo_losses({"OptiMetal2B-TC": [16, 32, 64], "OptiMetal3B-TC": [16]}, [8, 16, 32, 64, 128])
    return fit_study(average_seeds(losses))
