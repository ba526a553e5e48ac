# The four commands: make run, make test, make check, make bench.
PYTHON ?= python3
VENV := .venv
# Tests wait more than they compute: more of them at a time than most machines have cores.
TEST_PROCESSES ?= 3
BIN := $(VENV)/bin

.PHONY: run test check compile interpreted docs bench lab peers clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("quada needs Python 3.11 or newer, this is %d.%d: set PYTHON=" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

run: $(VENV)/.ready  ## server with demo zones on port 5300, no root
	$(BIN)/quada demo

check: $(VENV)/.ready  ## style, types, room boundaries
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

compile: $(VENV)/.ready  ## the hot path to C, where there is a C compiler; a third less CPU
	$(BIN)/python compile.py

interpreted: $(VENV)/.ready  ## as it was before make compile
	$(BIN)/python compile.py --remove

docs: $(VENV)/.ready  ## the documentation site, in site/; no warning is let through
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

peers:  ## install the DNS software that the tests and benchmarks run beside quada
	sh tests/peers/install.sh

# What is compiled is tested interpreted too: both are what users run.
INTERPRETED := tests/scenarios tests/rfc $(addprefix tests/unit/,authority resolver server telemetry wire zones)

test: $(VENV)/.ready peers check  ## everything: checks, unit, RFC, live and peer tests
	$(MAKE) compile
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile
	PYTHONPATH=tests $(BIN)/pytest -p interpreted -n $(TEST_PROCESSES) --dist loadfile $(INTERPRETED)

lab: $(VENV)/.ready peers  ## the small internet in network namespaces, and what is tested in it (root)
	$(BIN)/pytest tests/lab

bench: $(VENV)/.ready peers compile  ## one run beside the installed peers, written to bench/results/
	$(BIN)/python -m bench

clean:
	find src -name '*.so' -delete
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
