# Two commands: `make demo` sets up and runs the main job; `make test` sets up and runs every check CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format wheel bench clean

help:  ## Say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(STAMP)  ## Make the virtual environment

$(STAMP): pyproject.toml src/abside/__init__.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=24'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## Run agent, sidecar and collector over real traffic, edit and pause, count what landed
	$(BIN)/python tests/journey/demo.py

lint: $(STAMP)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint  ## Run every check: lint, types, tests, the journey, the wheel
	$(BIN)/pytest -q

bench: $(STAMP)  ## Measure: ratios first
	$(BIN)/python bench/journey.py

format: $(STAMP)  ## Put the code in our format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:  ## Remove what setup and runs made
	rm -rf $(VENV) .abside dist build .mypy_cache .pytest_cache .ruff_cache
