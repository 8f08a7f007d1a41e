from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def laws_docs():
    spec = importlib.util.spec_from_file_location("laws_docs", ROOT / "benchmarks" / "laws_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_laws_has_the_numbers_of_the_result_files(laws_docs):
    page = (ROOT / "docs" / "laws.md").read_text(encoding="utf-8")
    assert laws_docs.render(page) == page, "run `python benchmarks/laws_docs.py`"


def test_a_page_without_a_block_is_an_error(laws_docs):
    with pytest.raises(ValueError, match="needs the block maps once, has it 0 times"):
        laws_docs.render("nothing")
