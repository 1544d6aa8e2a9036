# Everything a developer runs. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
LOG := $(VENV)/install.log
FIRST := -c constraints.txt torch hatchling
REST := -c constraints.txt --no-build-isolation -e '.[all,dev]'

# What `make test-faults` runs: that many random schedules, or the one of SEED.
SCHEDULES ?= 200
SEED ?=

# Options of `make soak`; `make soak ARGS=--help` lists them.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-faults soak lint protos clean

help: ## Show this list.
	@echo "labelmill: make <target>"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Each target makes what it needs; the first one takes some minutes to install."
	@echo "Variables: PYTHON (default python3, 3.11 or later), SCHEDULES and SEED for test-faults."

setup: $(STAMP) ## Create .venv with everything, at the versions of constraints.txt.

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = sys.version_info >= (3, 11); ok or print("labelmill needs Python 3.11 or later; $(PYTHON) is " + sys.version.split()[0] + ". Name another: make setup PYTHON=python3.12", file=sys.stderr); sys.exit(not ok)'
	@echo "==> creating $(VENV) with $$($(PYTHON) -V)"
	@# Debian ships python3 without ensurepip: then the pip outside installs into the environment.
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
	@rm -f $(LOG)
	@$(call install,PyTorch (1 of 2),$(FIRST))
	@$(call install,labelmill and the rest (2 of 2),$(REST))
	@touch $(STAMP)
	@echo "==> $(VENV) is ready; its labelmill is $(BIN)/labelmill"

# install(what, arguments of pip install): quiet unless it fails.
define install
	echo "==> installing $(1)"; \
	if [ -x $(BIN)/pip ]; then pip="$(BIN)/python -m pip"; else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
	$$pip --disable-pip-version-check install --no-input --progress-bar off $(2) >>$(LOG) 2>&1 \
	|| { tail -n 20 $(LOG); echo "==> pip failed; the whole log is $(LOG)"; exit 1; }
endef

demo: setup ## Train, check, score and compare on the example reviews.
	@$(BIN)/labelmill demo

test: lint ## Lint, then run every test.
	@$(BIN)/python -m pytest

test-faults: setup ## Kill, stop and starve processes at random (SCHEDULES=200, SEED= reruns one).
	@SCHEDULES=$(SCHEDULES) SEED=$(SEED) $(BIN)/python -m pytest tests/faults

soak: setup ## Watch a worker's memory over a million texts, minutes (ARGS="--texts 200000").
	@PYTHONPATH=tests $(BIN)/python -m soak.memory $(ARGS)

lint: setup ## Check style, types, protos and generated stubs.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy core client server worker
	@$(BIN)/python protos/generate.py --check
	@$(BIN)/buf lint

protos: setup ## Regenerate the stubs below core/labelmill from protos/.
	@$(BIN)/buf lint
	@$(BIN)/python protos/generate.py

clean: ## Remove the environment, caches, build outputs and the demo's data.
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .labelmill-demo
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "removed; .labelmill, if there is one, holds your models and stays"
