# Every command of this project. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
# They are for this Makefile, and not for the one inside a package that pip has to build.
unexport MAKEFLAGS
# A program whose compiled modules are not kept compiles them at each start, and the suite starts hundreds.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --no-input --disable-pip-version-check
# A line now and then instead of a long silence or of one line a package.
BRIEFLY := awk '/^Collecting/ && ++n % 15 == 0 { print "  " n " packages fetched" } /^Installing/ { print "  unpacking " n " packages" } { fflush() }'
LOCK := $(BIN)/pip-compile --quiet --upgrade --strip-extras --no-header --no-annotate --no-emit-options
BENCHES := chat jobs pages recommender recommender-bounds rpc rpc-connections
# Public data sets; bench/recommender/data.py names their sources.
export BENCH_DATA ?= ../shared/data
FAULTS := chat gateway jobs rpc
# Most of a test's time it waits for a process to start, so as many as three files run at once.
SIDE_BY_SIDE := --numprocesses=3 --dist=loadfile

##@ Run

run: $(VENV)/.run  ## start everything, with its data in var/; Ctrl-C stops it
	@exec $(BIN)/tidings up

##@ Test

test: system $(VENV)/.dev  ## the suite, on SQLite and on real MariaDB and Redis; ARGS= goes to pytest
	@$(BIN)/pytest -m 'not long' $(SIDE_BY_SIDE) $(ARGS)

test-long: system $(VENV)/.dev  ## what takes minutes: faults in short runs, fuzzing, a fresh clone, the wheel
	@$(BIN)/pytest -m long $(ARGS)

coverage: system $(VENV)/.dev  ## the whole suite, and which lines of the programs it ran; takes half as long again
	@$(BIN)/pytest --cov --cov-report=term $(ARGS)

test-unit: $(VENV)/.dev  ## what needs no server: the fast loop
	@$(BIN)/pytest tests/unit -m 'not long' $(SIDE_BY_SIDE) $(ARGS)

lint: $(VENV)/.dev  ## style, prose, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python scripts/prose-check

types: $(VENV)/.dev  ## mypy, strict
	@$(BIN)/mypy

docs-check: $(VENV)/.dev  ## the links and commands in README.md and docs/
	@$(BIN)/pytest tests/unit/test_docs.py

screenshots: system $(VENV)/.dev  ## pictures of the pages in var/screenshots, to look at
	@$(BIN)/python -m tests.lab.screenshots $(ARGS)

##@ Measure

bench: $(BENCHES:%=bench-%) bench-import  ## every benchmark; one alone: bench-NAME, and what it survives: faults-NAME

bench-%: $(VENV)/.bench system
	@$(BIN)/python -m bench.$(subst -,_,$*) $(ARGS)

# An import is no name that Python takes for a module.
bench-import: $(VENV)/.dev system
	@$(BIN)/python -m bench.importing $(ARGS)

# Its long form is a load by locust besides.
faults-gateway: $(if $(FULL),$(VENV)/.bench)

faults-%: $(VENV)/.dev system
	@$(BIN)/python -m bench.faults_$(subst -,_,$*) $(ARGS)

##@ The contract in idl/

gen: system  ## write gen-py/ anew from idl/
	@scripts/generate-idl gen-py

gen-check: system  ## fails unless gen-py/ is what idl/ gives
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT
	scripts/generate-idl "$$fresh"
	diff --recursive --exclude=__pycache__ gen-py "$$fresh"

idl-audit: system  ## fails if idl/ breaks a caller of the last release, idl/released/
	@scripts/audit-idl idl

##@ Upkeep

install: $(VENV)/.run  ## make .venv and install what running needs

install-train: $(VENV)/.train  ## install what `tidings train` needs, the extra [train]

system:
	@scripts/install-system-packages

lock: $(VENV)/.dev  ## lock every dependency anew, at its newest version that setup.cfg and requirements/*.in allow
	@$(LOCK) --allow-unsafe --build-deps-for=editable --output-file=requirements/run.txt setup.cfg
	@$(LOCK) --output-file=requirements/train.txt requirements/train.in
	@$(LOCK) --output-file=requirements/dev.txt requirements/dev.in
	@$(LOCK) --output-file=requirements/bench.txt requirements/bench.in
	@sed --in-place '/^#/d; /^$$/d' requirements/{run,train,dev,bench}.txt
	@rm -rf *.egg-info  # left by the build; its entry points would hide the installed ones from then on

clean:  ## remove whatever can be made again; var/ stays
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
	@$(MAKE) --silent -C examples clean
	@find . -name __pycache__ -prune -exec rm -rf {} +

help:  ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

$(VENV)/.python:
	@scripts/make-venv $(VENV)
	@touch $@

$(VENV)/.run: requirements/run.txt setup.cfg pyproject.toml | $(VENV)/.python
	@echo "Installing the dependencies into $(VENV)"
	@$(PIP) install --requirement=requirements/run.txt | $(BRIEFLY)
	@$(PIP) --quiet --quiet install --no-deps --no-build-isolation --editable=.
	@rm -rf *.egg-info
	@touch $@

$(VENV)/.train: requirements/train.txt $(VENV)/.run
	@echo "Installing what training needs into $(VENV)"
	@$(PIP) install --requirement=requirements/train.txt | $(BRIEFLY)
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Installing what tests need into $(VENV)"
	@$(PIP) install --requirement=requirements/dev.txt | $(BRIEFLY)
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	@echo "Installing what benchmarks need into $(VENV)"
	@$(PIP) install --requirement=requirements/bench.txt | $(BRIEFLY)
	@touch $@

.PHONY: run test test-long coverage test-unit lint types docs-check screenshots bench bench-import gen gen-check idl-audit install install-train system lock clean help
