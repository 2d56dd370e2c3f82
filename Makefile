# Everything that a clone needs is installed into .venv by the targets themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-slow gpu-dry-run check lint clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("fcis needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

demo: setup
	$(BIN)/fcis demo --out demo

# One thread a worker: more threads than cores make every small operation wait.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m 'not slow and not gpu'

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m 'slow and not gpu'

# The scripts for a rented GPU, tiny and on the CPU.
gpu-dry-run: setup
	OMP_NUM_THREADS=1 $(BIN)/python gpu/dry_run.py

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

check: lint test

clean:
	rm -rf $(VENV) demo build dist
