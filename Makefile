# Everything runs in .venv, which the first target to need it makes; nothing is installed twice.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test test-rest test-all test-long lint bench clean

install: $(STAMP)

$(STAMP): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r setup.cfg --extra test -c constraints.txt
	touch $@

demo: $(STAMP)
	$(BIN)/python run_search.py $(if $(wildcard results/digits/long-tail/study.json),resume results/digits/long-tail,run digits/long-tail)

# Two processes share what needs no machine of its own; one thread each, as threads beyond the cores collapse.
SHARED := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal
ALONE := $(BIN)/python -m pytest

# Every unit test, and each thing that is done for real once: at most 6 minutes on two cores.
test: $(STAMP)
	$(SHARED) -m "not matrix and not alone and not long"
	$(ALONE) -m "not matrix and alone"

# The matrices: every study, kills at random moments, clusters, large networks, browsers.
test-rest: $(STAMP)
	$(SHARED) -m "matrix and not alone"
	$(ALONE) -m "matrix and alone"

test-all: test test-rest

# The long form of what `test-rest` does briefly; its figures are in docs/operations.md.
test-long: $(STAMP)
	$(ALONE) -m long
	$(BIN)/python -m tests.cli.kill_often --kills 50
	REPORT_TRIALS=10000 $(BIN)/python -m pytest -s tests/analysis/report/test_scale.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
