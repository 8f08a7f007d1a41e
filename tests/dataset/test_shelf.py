from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from killing import FORK

from optiscale.dataset import open_source
from optiscale.dataset.shelf import build_shelf, pack_shelf, read_shelf, shelf_file, shelf_ids
from optiscale.errors import UserError


def test_the_embedded_shelf_is_real_and_small(tmp_path: Path) -> None:
    assert shelf_file().stat().st_size < 15 * 2**20
    dataset = build_shelf(tmp_path / "shelf")
    assert len(dataset) == len(shelf_ids()) >= 69
    dataset.check_targets(np.arange(len(dataset)))
    assert dataset.spectrum.shape[1:] == (2001, 2)
    assert dataset.spectrum[:, :, 1].min() > -1e-3, "absorption of a passive medium is not negative"
    omega_D = dataset.scalars[:, 0]
    assert 1 < omega_D.min() < omega_D.max() < 20


def test_programs_that_need_the_shelf_at_once_build_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTISCALE_CACHE", str(tmp_path))
    answers = FORK.SimpleQueue()
    programs = [FORK.Process(target=lambda: answers.put(open_source("dft-shelf").hash)) for _ in range(3)]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
    assert {answers.get() for _ in programs} == {open_source("dft-shelf").hash}
    assert [path.name[:10] for path in tmp_path.iterdir()] == ["dft-shelf-"]


def test_packing_loses_nothing(tmp_path: Path) -> None:
    records = read_shelf()[:5]
    pack_shelf(records[::-1], tmp_path / "shelf.parquet")
    for record, again in zip(records, read_shelf(tmp_path / "shelf.parquet"), strict=True):
        assert (record.id, record.prototype, record.provenance) == (again.id, again.prototype, again.provenance)
        np.testing.assert_array_equal(record.eps_inter, again.eps_inter)
        np.testing.assert_array_equal(record.omega_D2, again.omega_D2)
        np.testing.assert_array_equal(record.atoms.positions, again.atoms.positions)


def test_a_doubled_record_and_a_damaged_shelf_are_refused(tmp_path: Path) -> None:
    record = read_shelf()[0]
    with pytest.raises(UserError, match=f"{record.id} is recorded twice"):
        pack_shelf([record, record], tmp_path / "shelf.parquet")
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(shelf_file().read_bytes()[:50_000])
    again = "pack it again with `optiscale data pack`"
    with pytest.raises(UserError, match=rf"damaged\.parquet: a damaged shelf, cut short or no Parquet file; {again}$"):
        build_shelf(tmp_path / "set", damaged)
    pd.DataFrame({"id": ["one"]}).to_parquet(damaged)
    with pytest.raises(UserError, match=rf"damaged\.parquet: no packed shelf \(the column .* is missing\); {again}$"):
        build_shelf(tmp_path / "set", damaged)
    pack_shelf([], tmp_path / "empty.parquet")
    with pytest.raises(UserError, match=r"empty\.parquet: the shelf is empty"):
        build_shelf(tmp_path / "set", tmp_path / "empty.parquet")
