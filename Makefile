# `make help` lists the targets. All paths are relative, because make splits absolute paths at spaces.

.DEFAULT_GOAL := help
.PHONY: help setup run test faults lint lock audit ui snapshot site clean FORCE

PYTHON ?=
EXTRAS ?=
export PYTHON EXTRAS
VENV_PYTHON := .venv/bin/python
ENVIRONMENT := python="$$(sh scripts/find_python.sh)" && "$$python" scripts/environment.py

# Some containers disable Python's bytecode cache; then every process that a test starts would compile this project again.
CACHED := env -u PYTHONDONTWRITEBYTECODE

help: ## this list
	@echo 'make TARGET'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' Makefile
	@echo 'PYTHON=python3.12 chooses the interpreter (3.11 to 3.13). EXTRAS adds packages: gpu (CUDA libraries, Linux only,'
	@echo '5 GB), s3 (a DVC remote on S3), dashboard (optuna-dashboard). make setup remembers both.'

setup: .venv/.setup ## the virtual environment .venv, from the hash-pinned requirements.lock

run: .venv/.setup ## set-up, then the whole pipeline: fetch, preprocess, train, sweep, overfitting, compare
	@$(VENV_PYTHON) scripts/run.py

test: .venv/.setup ## set-up, then the tests; PYTEST_ARGS="-k name -x" passes through, TESTS=all adds the slow ones
	@$(CACHED) $(VENV_PYTHON) -m pytest $(PYTEST_ARGS)

faults: .venv/.setup ## set-up, then all tests that inject the faults of docs/faults.md
	@TESTS=all $(CACHED) $(VENV_PYTHON) -m pytest -m fault $(PYTEST_ARGS)

lint: .venv/.setup ## ruff, mypy and import-linter
	@status=0; for check in 'ruff check' 'ruff format --check' mypy; do $(VENV_PYTHON) -m $$check || status=1; done; .venv/bin/lint-imports --no-logo --no-cache || status=1; exit $$status

lock: ## pin the dependencies of pyproject.toml again; UPGRADE=1 takes the newest versions
	@$(ENVIRONMENT) lock $(if $(UPGRADE),--upgrade)

audit: ## check the pinned packages against known advisories (needs a network)
	@$(ENVIRONMENT) audit

ui: .venv/.setup ## the MLflow UI with this project's runs, on 127.0.0.1; UI_ARGS passes through
	@$(VENV_PYTHON) -m pipeline.ui $(UI_ARGS)

snapshot: .venv/.setup ## copy what the documentation quotes from reports/ to docs/results/
	@$(VENV_PYTHON) scripts/snapshot.py

site: ## the static site in site/: README, docs, notebooks and the report
	@$(ENVIRONMENT) site

clean: ## remove .venv and caches; data, runs, reports and the MLflow store stay
	@rm -rf .venv .uv .site .cache site .pytest_cache .mypy_cache .ruff_cache .hypothesis .dvc/tmp/digits
	@find . -path ./.dvc -prune -o -name __pycache__ -prune -exec rm -rf {} +

# The set-up runs again if a lock or pyproject.toml changed, if .venv does not start or was moved, if PYTHON or EXTRAS is given,
# or if DVC may not know that git is missing.
BROKEN := $(shell $(VENV_PYTHON) -c '' 2>/dev/null && grep -qsF "$$(pwd -P)\"" .venv/.setup || echo FORCE)

.venv/.setup: requirements.lock $(wildcard requirements-*.lock) pyproject.toml $(BROKEN) $(if $(PYTHON)$(EXTRAS),FORCE) \
		$(if $(wildcard .git .dvc/config.local),,FORCE)
	@$(ENVIRONMENT) setup
