# Every target sets up what it needs in .venv; a machine with Python >= 3.11, pip, git and make is enough.
.DEFAULT_GOAL := help
VENV := .venv
BIN  := $(VENV)/bin
PYTHON ?= python3
STAMP := $(VENV)/.installed

PAGE := src/amas/_web/index.html

# Most tests wait for processes half of their time: two for each core keep the cores at work.
TEST_PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(2 * min(len(os.sched_getaffinity(0)), 8))')

# Tests start hundreds of processes; each would compile what it imports where nothing may be kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test suite lint ruff types contracts bench bench-peers bench-science bench-page soak local-model screenshots clean

help:  ## print this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) $(PAGE)  ## create .venv and install the project with its development tools; build the web page where node is
	@$(BIN)/python -m compileall -q src

$(STAMP): pyproject.toml uv.lock
	@PYTHON="$(PYTHON)" sh scripts/setup.sh $(VENV)
	@touch $@

$(PAGE): $(shell find web \( -name node_modules -o -name schema.d.ts \) -prune -o -type f -print)
	@sh scripts/web.sh $@

demo: setup  ## review this project's own source with the whole hierarchy, end to end
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/amas run "Review the code, document its API, check its licences and write a report" --input . --output amas-out/demo

lint: ruff types contracts  ## ruff, mypy --strict, import contracts

ruff: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

# `make -j2 test` lints beside the tests; without -j, tests begin when lint has passed.
test: lint suite  ## lint, then every test that this machine can run

# What fails beside others and is no fault of chance is run again, alone, and named (tests/second_look.py).
suite: setup
	$(BIN)/python -m tests.second_look -n $(TEST_PROCESSES) --dist loadgroup --durations=40 --durations-min=10 tests

bench: setup  ## measure this machine; tables, plots, benchmarks/results.json and docs/benchmarks.md
	$(BIN)/python -m benchmarks

bench-peers: setup  ## the same tasks on saq, taskiq, dramatiq, celery and dbos; installs them under build/
	$(BIN)/python -m benchmarks.peers

bench-science: setup  ## run measured scientific workflows; installs wfcommons under build/
	$(BIN)/python -m benchmarks.science

bench-page: setup  ## docs/benchmarks.md and its plots again, from the results
	$(BIN)/python -m benchmarks.page

soak: setup  ## the long fault runs
	AMAS_SOAK=full $(BIN)/python -m pytest -m soak tests

local-model: setup  ## install the small language model and run the goals that it plans
	$(BIN)/amas model install
	$(BIN)/python -m pytest -m local_model tests

screenshots: setup  ## docs/pictures again, from fleets at work
	$(BIN)/python scripts/pictures.py

clean:  ## remove what the targets made
	rm -rf $(VENV) amas-out src/amas/_web web/node_modules .mypy_cache .ruff_cache .pytest_cache
