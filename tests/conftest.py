"""What every station's tests share."""

from __future__ import annotations

import pytest
from small import make_dataset

from optiscale.dataset import OpticalDataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> OpticalDataset:
    return make_dataset(tmp_path_factory.mktemp("data") / "small")
