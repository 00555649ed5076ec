# Everything runs in .venv, which `make setup` creates; every other target sees to that first.

# The agent of `make run`: high effort, so that each response runs in the background, at the provider.
TASK = What is still open before Fernwick 2.0 can ship? Read the release checklist, the last meeting and the tickets, \
	and name the owner of each point.
EFFORT = high
# All tests wait more than they work, so they share the cores. Some of them: make test TESTS=tests/test_settings.py
TESTS = --numprocesses logical --maxprocesses 4 tests
WORKERS = 3

# Python 3.11 or newer. Another one: make setup PYTHON=/path/to/python3
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))

# One stamp for each place of the checkout: an environment that was copied along would run the other place's code.
STAMP := .venv/.installed-$(shell pwd | cksum | cut -d ' ' -f 1)
IN_VENV := .venv/bin/python -m

# As it was typed: a dollar sign in a task is no variable of make's.
override TASK := $(value TASK)
export TASK

.PHONY: help setup run up down mcp stack test test-stack check bench screenshots temporal lock clean
.DEFAULT_GOAL := help

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Create .venv with the pinned dependencies

$(STAMP): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=..." >&2; exit 1; }
	@echo "Setting up .venv with $(PYTHON)." >&2
	@test -e $@ || $(PYTHON) -m venv --clear .venv
	@$(IN_VENV) pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(IN_VENV) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## Run an agent and follow it: make run TASK="…"
	@$(IN_VENV) starter run --effort $(EFFORT) "$$TASK"

up: setup ## Run Temporal, emulator and worker in the foreground, whatever is not configured
	@$(IN_VENV) starter up

down: setup ## Stop what `make run` left in the background
	@$(IN_VENV) starter down

# Nothing but protocol may be written to standard output, so what the set-up says goes elsewhere.
mcp: ## Serve agents as MCP tools over stdio; make mcp ARGS=--http
	@$(MAKE) --no-print-directory setup >&2
	@exec $(IN_VENV) durable_responses.mcp_server $(ARGS)

# All of it, with several workers, by the same versions as docker-compose.yml.
stack: setup ## Run Temporal on PostgreSQL, its Web UI and WORKERS=3 workers in the foreground
	@$(IN_VENV) durable_responses.embedded stack --workers $(WORKERS)

test: setup temporal ## Run the tests: make test TESTS=tests/test_settings.py
	@$(IN_VENV) pytest $(TESTS)

test-stack: setup ## Run 200 agents on `make stack` while its parts are killed (minutes)
	@$(IN_VENV) pytest -s tests/stack_lane.py

check: setup ## Check format, lint, types and imports
	@$(IN_VENV) ruff format --check .
	@$(IN_VENV) ruff check .
	@$(IN_VENV) mypy .
	@.venv/bin/lint-imports --no-logo

bench: setup temporal ## Measure speed and memory
	@$(IN_VENV) dev.bench $(ARGS)

screenshots: setup temporal ## Take the pictures of docs/images anew, with a headless Chromium
	@$(IN_VENV) dev.screenshots docs/images

temporal: setup ## Print the path of the Temporal CLI; build it if need be
	@$(IN_VENV) durable_responses.embedded temporal

# The second file is what the image gets: a part of the first, at the same versions.
lock: ## Pin the dependencies of pyproject.toml in requirements.txt and requirements-runtime.txt
	@uv=$$(mktemp -d) && $(PYTHON) -m venv $$uv && $$uv/bin/pip install --quiet uv && \
	compile() { \
		$$uv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
			--python-version 3.11 --custom-compile-command "make lock" "$$@" pyproject.toml; \
	} && \
	compile --extra dev --output-file requirements.txt && \
	compile --extra otel --constraint requirements.txt --output-file requirements-runtime.txt; \
	code=$$?; rm -rf $$uv; exit $$code

clean: ## Remove .venv and caches; runs and their database stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info build dist
