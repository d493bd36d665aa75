# `make dashboard` opens the page, `make test` runs every test; both install what they need into .venv first.
PYTHON ?= python3
# Test files side by side, in the order that tests/conftest.py gives them.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install dashboard test lint bench clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "lesiondash needs Python 3.11 or newer; set PYTHON=python3.12, say")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@

dashboard: install
	$(BIN)/lesiondash dashboard

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/first_page.py
	$(BIN)/python benchmarks/box_to_results.py
	$(BIN)/python benchmarks/slider.py
	$(BIN)/python benchmarks/frangi.py --quick
	$(BIN)/python benchmarks/sensitivity.py

clean:
	rm -rf $(VENV) data/demo data/models data/galleries
