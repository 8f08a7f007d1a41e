from __future__ import annotations

import pytest

from optiscale.errors import UserError
from optiscale.sweep.budget import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("90min", 5400), ("2h", 7200), ("1d", 86400), (" 1.5 h", 5400), (".5min", 30)]
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "0s", "2 hours", "1h30min", "nan h", "2m"])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match="no length of time; write a number and s, min, h or d") as error:
        seconds_of(text)
    assert "\n" not in str(error.value)
