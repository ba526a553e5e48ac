# The four commands: make run, make test, make check, make bench.
PYTHON ?= python3
VENV := .venv
# Tests wait more than they compute: more of them at a time than most machines have cores.
TEST_PROCESSES ?= 3
BIN := $(VENV)/bin

.PHONY: run test check docs bench lab peers clean

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

docs: $(VENV)/.ready  ## the documentation site, in site/; no warning is let through
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

peers:  ## install the DNS software that the tests and benchmarks run beside quada
	sh tests/peers/install.sh

test: $(VENV)/.ready peers check  ## everything: checks, unit, RFC, live and peer tests
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile

lab: $(VENV)/.ready peers  ## the small internet in network namespaces, and what is tested in it (root)
	$(BIN)/pytest tests/lab

bench: $(VENV)/.ready peers  ## one run beside the installed peers, written to bench/results/
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
