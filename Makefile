# Everything here makes its own environment first, if it has to: git, make and Python 3.11 to
# 3.13 are enough. ARGS are passed on: make test ARGS="-k audit".

ARGS ?=
# Test processes at a time. Each has a PostgreSQL and a Prefect server of its own; most of their
# time is waiting.
JOBS ?= 2
READY := .venv/.ready
BIN := .venv/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show what make can do
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

.PHONY: setup
setup: $(READY) ## Install everything into .venv (also done by all others)
	@echo 'The environment is in .venv.'

$(READY): pyproject.toml uv.lock .ci/setup
	@PYTHON='$(PYTHON)' sh .ci/setup

.PHONY: demo
demo: $(READY) ## Start the whole stack with a sample organization and run a workflow
	@$(BIN)/tenantry demo $(ARGS)

.PHONY: test
test: $(READY) ## Run the tests
	@$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

.PHONY: test-slow
test-slow: $(READY) ## Run the tests that take minutes: the steward, calling off, the benchmark
	@$(BIN)/pytest -m slow -n $(JOBS) --dist loadfile $(ARGS)

# CHAOS_SEED=7 makes that run again, CHAOS_SEEDS=10 makes ten, one after the other.
.PHONY: test-chaos
test-chaos: $(READY) ## Kill and cut off everything under load, then check every row
	@$(BIN)/pytest -rP -m chaos tests/chaos $(ARGS)

.PHONY: test-contract
test-contract: $(READY) ## Hold the API to its OpenAPI document with schemathesis
	@$(BIN)/pytest -rP -m contract tests/api/test_contract.py $(ARGS)

# All of them, even if the first fails: one run tells everything.
CHECKS := check-format check-style check-imports check-types check-house
.PHONY: check $(CHECKS)
check: $(READY) ## Check format, style, types, import contracts and house rules
	@$(MAKE) --keep-going --no-print-directory $(CHECKS)

check-format: $(READY)
	@$(BIN)/ruff format --check --quiet

check-style: $(READY)
	@$(BIN)/ruff check --quiet

check-imports: $(READY)
	@$(BIN)/lint-imports --no-logo

check-types: $(READY)
	@$(BIN)/pyright

check-house: $(READY)
	@$(BIN)/pytest -q tests/unit/house

.PHONY: fmt
fmt: $(READY) ## Format the code and mend what can be mended without thought
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix
