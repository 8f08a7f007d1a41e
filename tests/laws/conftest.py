from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from optiscale.laws import LAWS, Law, LawFit, Points, fit_law, fit_published, register
from optiscale.laws.compare import Comparison, FitKey, compare, fit_all_published


@pytest.fixture(scope="session")
def published_fits() -> dict[FitKey, LawFit]:
    return fit_all_published()


@pytest.fixture(scope="session")
def comparison(published_fits) -> list[Comparison]:
    return compare(published_fits)


def _published(name: str, points: Points) -> LawFit:
    return fit_published(name, points.x, points.loss, points.std)


@pytest.fixture(params=[fit_law, _published], ids=["own", "published"])
def fit_points(request) -> Callable[[str, Points], LawFit]:
    """One fit in either protocol."""
    return request.param


@pytest.fixture
def logarithm() -> Iterator[Law]:
    """A law of one's own."""
    law = register(
        Law(
            name="logarithm",
            label="Logarithm",
            kind="1d",
            function=lambda x, b, c: b - c * np.log10(x),
            parameters=("b", "c"),
            guess=lambda x, loss: {"b": 1.0, "c": 0.1},
        )
    )
    yield law
    del LAWS["logarithm"]


@pytest.fixture
def nowhere() -> Iterator[Law]:
    """A law that is finite nowhere."""
    law = register(
        Law(
            name="nowhere",
            label="Nowhere",
            kind="1d",
            function=lambda x, a: a * x * np.nan,
            parameters=("a",),
            guess=lambda x, loss: {"a": 1.0},
        )
    )
    yield law
    del LAWS["nowhere"]
