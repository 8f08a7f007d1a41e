# Every target does its own set-up: a virtual environment in .venv with the pinned versions of constraints.txt.
.DEFAULT_GOAL := help
VENV := .venv
RUN := $(VENV)/bin/python -m optiscale.run
# the first interpreter that is Python 3.11 to 3.13; `make PYTHON=/path/to/python demo` chooses another
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo demo-docs baselines-docs report-docs test test-all lint figures published-numbers data-docs advice-docs clean

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "OptiScale needs Python 3.11 to 3.13; install one, or make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) --editable '.[test,lint]'
	@touch $@

demo: $(VENV)/.installed  ## Run a small scaling study on the embedded data set (minutes on two cores)
	$(RUN) grid experiments/demo.yaml

test: $(VENV)/.installed-test  ## Pass every test that needs no GPU
	$(VENV)/bin/python -m pytest

test-all: $(VENV)/.installed-test  ## Slow and GPU tests too
	$(VENV)/bin/python -m pytest -m ''

lint: $(VENV)/.installed-test  ## Style, types, and the plan of the house
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

figures: $(VENV)/.installed  ## Redraw the paper's figures and tables; RUNS=… draws one's own over them
	$(RUN) plot --published $(RUNS)

published-numbers: $(VENV)/.installed  ## Compare every published number with ours: docs/published-numbers.md
	$(VENV)/bin/python -m optiscale.laws.compare

clean:  ## Remove the environment and the results
	rm -rf $(VENV) results

demo-docs: demo  ## Copy the demo's figures and tables into docs/demo
	mkdir -p docs/demo
	cp results/demo/figures/*.png results/demo/tables/*.md results/demo/runs.parquet docs/demo/

baselines-docs: $(VENV)/.installed  ## Run a network beside its baselines and copy tables and figures into docs/baselines
	$(RUN) grid experiments/baselines.yaml
	mkdir -p docs/baselines
	cp results/baselines/figures/figure_1.png results/baselines/tables/metrics_*_validation.md results/baselines/runs.parquet docs/baselines/

CHROMIUM := chromium
report-docs: $(VENV)/.installed  ## Write the page of the published losses and its picture, docs/report.png (needs Chromium)
	$(RUN) report optiscale/laws/reference/published_losses.csv --out results/published/report.html
	$(CHROMIUM) --headless --hide-scrollbars --window-size=1280,1620 --virtual-time-budget=20000 --screenshot=docs/report.png file://$(CURDIR)/results/published/report.html

data-docs: $(VENV)/.installed  ## Draw the spectra of each source, and five metals beside measurements
	$(VENV)/bin/python benchmarks/data_pictures.py

advice-docs: $(VENV)/.installed  ## Replay the advice on the published grids, measure its intervals, and fill docs/advice.md
	$(VENV)/bin/python benchmarks/advice_published.py
	$(VENV)/bin/python benchmarks/advice_coverage.py
	$(VENV)/bin/python benchmarks/advice_replay.py
	$(VENV)/bin/python benchmarks/advice_docs.py
