# Each target first makes what it needs; `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help figures test test-slow lint bench pins clean FORCE

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

figures: .venv/.base ## the convex figures of the paper and which of its claims hold, into figures-out
	$(BIN)/efsgd-figures convex

test: .venv/.dev lint ## every check but the slow tests
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile

test-slow: .venv/.dev ## the slow tests: the wheel in a new environment, long runs
	$(BIN)/python -m pytest -m slow

lint: .venv/.dev ## format, style and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

bench: .venv/.base ## the speed of engine, workers, wire and start-up, as ratios within one run
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean: ## remove .venv, caches and build products; pictures and results stay
	rm -rf .venv build dist efsgd.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# .venv is built from nothing whenever it is incomplete, has lost its interpreter, was made elsewhere (its scripts
# hold their path) or setup.cfg or constraints.txt changed. The stamps come last, so that they only mark a whole one.
SOUND := $(shell $(BIN)/python -c "" 2>/dev/null && test "$$(cat .venv/.base 2>/dev/null)" = "$(CURDIR)" && echo yes)
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
TOO_OLD = "efsgd needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1): name another with make PYTHON=..."

.venv/.base: setup.cfg constraints.txt $(if $(SOUND),,FORCE)
	@command -v $(PYTHON) >/dev/null || \
	    { echo "efsgd needs Python 3.11 or newer, but there is no $(PYTHON): name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo $(TOO_OLD) >&2; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || \
	    { echo "$(PYTHON) lacks the module venv: install it (on Debian and Ubuntu the package python3-venv)." >&2; exit 1; }
	@echo "Installing efsgd and what it needs into .venv, once."
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) install -c constraints.txt -e .
	@echo "$(CURDIR)" > $@

.venv/.dev: .venv/.base
	@echo "Installing the tools of the checks into .venv, once."
	@rm -f .venv/.base
	@$(PIP) install -c constraints.txt -e ".[dev,deep]"
	@echo "$(CURDIR)" > .venv/.base
	@echo "$(CURDIR)" > $@

# Every version anew: the newest that setup.cfg admits, but torch as the deep track is tested. Nothing is installed.
TORCH := torch==2.13.0 torchvision==0.28.0
pins: ## choose the versions in constraints.txt anew (Python 3.11, Linux x86-64)
	$(PYTHON) -m venv --clear build/pins
	build/pins/bin/pip install --quiet --upgrade pip
	build/pins/bin/pip install --quiet --dry-run --ignore-installed --report build/pins.json ".[dev,deep]" $(TORCH)
	{ sed '/^$$/q' constraints.txt; $(PYTHON) -c "import json; \
	    found = [item['metadata'] for item in json.load(open('build/pins.json'))['install']]; \
	    print(*(m['name'] + '==' + m['version'].split('+')[0] for m in found if m['name'] != 'efsgd'), sep='\n')" | \
	  LC_ALL=C sort -f; } > build/constraints.txt
	mv build/constraints.txt constraints.txt
