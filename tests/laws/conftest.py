from __future__ import annotations

import pytest

from optiscale.laws import LawFit
from optiscale.laws.compare import Comparison, FitKey, compare, fit_all_published


@pytest.fixture(scope="session")
def published_fits() -> dict[FitKey, LawFit]:
    return fit_all_published()


@pytest.fixture(scope="session")
def comparison(published_fits) -> list[Comparison]:
    return compare(published_fits)
