from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optiscale.dataset import nested_order, split_as_given, split_by_composition
from optiscale.errors import UserError

FORMULAS = pd.Series([f"A{number % 137}B" for number in range(1000)])


@given(seed=st.integers(0, 2**32 - 1))
def test_no_composition_is_in_two_parts_and_none_is_lost(seed: int) -> None:
    parts = split_by_composition(FORMULAS, fractions=(0.8, 0.1, 0.1), seed=seed)
    names = [set(FORMULAS[rows]) for rows in parts.values()]
    assert sum(map(len, names)) == len(set.union(*names))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(1000))
    assert [len(part) for part in names] == [110, 13, 14]


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    one = split_by_composition(FORMULAS, fractions=(0.8, 0.1, 0.1), seed=0)
    other = split_by_composition(FORMULAS, fractions=(0.8, 0.1, 0.1), seed=1)
    assert set(FORMULAS[one["test"]]) != set(FORMULAS[other["test"]])
    reversed_ = split_by_composition(FORMULAS[::-1].reset_index(drop=True), fractions=(0.8, 0.1, 0.1), seed=0)
    assert set(FORMULAS[one["test"]]) == set(FORMULAS[::-1].reset_index(drop=True)[reversed_["test"]])


def test_a_growing_data_set_keeps_nearly_every_composition_where_it_was() -> None:
    more = pd.concat([FORMULAS, pd.Series([f"C{number}" for number in range(14)])], ignore_index=True)
    before = split_by_composition(FORMULAS, fractions=(0.8, 0.1, 0.1), seed=0)
    after = split_by_composition(more, fractions=(0.8, 0.1, 0.1), seed=0)
    moved = sum(
        formula in set(more[after[part]])
        for name, rows in before.items()
        for part in before
        if part != name
        for formula in set(FORMULAS[rows])
    )
    assert moved <= 14


@given(seed=st.integers(0, 2**32 - 1), strata=st.booleans())
def test_subsets_are_nested_and_hold_each_row_once(seed: int, strata: bool) -> None:
    rows = np.arange(500, 700)
    labels = rows % 4 if strata else None
    order = nested_order(rows, seed=seed, strata=labels)
    assert sorted(order) == list(rows)
    np.testing.assert_array_equal(order, nested_order(rows, seed=seed, strata=labels))


def test_stratified_prefixes_have_the_proportions_of_the_whole() -> None:
    rows = np.arange(1000)
    labels = np.repeat([1, 2, 3], [100, 300, 600])
    order = nested_order(rows, seed=3, strata=labels)
    for D in (10, 50, 200, 700):
        counts = np.bincount(labels[order[:D]], minlength=4)[1:]
        assert np.abs(counts - D * np.array([0.1, 0.3, 0.6])).max() <= 1.0001


def test_a_split_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="carries no split"):
        split_as_given(pd.DataFrame({"reduced_formula": ["A"]}))
    given_ = pd.DataFrame({"reduced_formula": list("ABC"), "split": ["train", "test", "validation"]})
    assert {part: list(rows) for part, rows in split_as_given(given_).items()} == {
        "train": [0],
        "validation": [2],
        "test": [1],
    }


@pytest.mark.parametrize(
    ("formulas", "split", "said"),
    [
        (list("ABC"), ["train", "val", "test"], "calls a part 'val'"),
        (list("AAB"), ["train", "test", "validation"], "A is in 2 parts"),
    ],
)
def test_a_given_split_must_make_sense(formulas: list[str], split: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        split_as_given(pd.DataFrame({"reduced_formula": formulas, "split": split}))
