from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def advice_docs():
    spec = importlib.util.spec_from_file_location("advice_docs", ROOT / "benchmarks" / "advice_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_advice_has_the_numbers_of_the_result_files(advice_docs):
    page = (ROOT / "docs" / "advice.md").read_text(encoding="utf-8")
    assert advice_docs.render(page) == page, "run `python benchmarks/advice_docs.py`"


def test_a_page_without_a_block_is_an_error(advice_docs):
    with pytest.raises(ValueError, match="needs the block losses once, has it 0 times"):
        advice_docs.render("nothing")
