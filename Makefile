# Everything runs in .venv, which `make setup` creates; every other target sees to that first.

# The agent of `make run`: high effort, so that each response runs in the background, at the provider.
TASK = What is still open before Fernwick 2.0 can ship? Read the release checklist, the last meeting and the tickets, \
	and name the owner of each point.
EFFORT = high
# All tests wait more than they work, so they share the cores. Some of them: make test TESTS=tests/test_settings.py
TESTS = --numprocesses logical --maxprocesses 4 tests
WORKERS = 3
# Of `make fuzz`, for each property.
EXAMPLES = 1000

# Python 3.11 or newer. Another one: make setup PYTHON=/path/to/python3. It is looked for once, and not beyond the first that
# does: a version manager takes a while to say that it has none of that name.
ifndef PYTHON
PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
endif

# A stamp for each place of the checkout: an environment that was copied along would run the other place's code.
PLACE := $(shell pwd | cksum | cut -d ' ' -f 1)
READY := .venv/.installed-$(PLACE)
READY_TO_TEST := .venv/.tested-$(PLACE)
IN_VENV := .venv/bin/python -m
PROGRAM := .venv/bin/durable-responses

# As it was typed: a dollar sign in a task is not a variable of make.
override TASK := $(value TASK)
export TASK

# Tests start a thousand programs. Without bytecode each compiles all that it imports, a worker for 1.6 s: it is written for
# them whatever the environment says, and where it litters no sources.
test test-% fuzz bench: export PYTHONDONTWRITEBYTECODE =
test test-% fuzz bench: export PYTHONPYCACHEPREFIX = $(CURDIR)/.venv/bytecode

.PHONY: help setup run up down mcp stack test test-stack test-load test-exits test-servers test-traces test-clients test-mcp-servers fuzz check bench screenshots temporal lock clean
.DEFAULT_GOAL := help

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv with the pinned dependencies, except those of the tests

$(READY): requirements-build.txt requirements-runtime.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=..." >&2; exit 1; }
	@echo "Setting up .venv with $(PYTHON)." >&2
	@test -e $@ || $(PYTHON) -m venv --clear --without-pip .venv
	@.venv/bin/python dev/set_up.py -r requirements-runtime.txt
	@touch $@

$(READY_TO_TEST): $(READY) requirements.txt
	@echo "Installing what tests and checks need." >&2
	@.venv/bin/python dev/set_up.py -r requirements.txt
	@touch $@

run: setup ## Start a run and follow it to its end: make run TASK="…"
	@$(PROGRAM) run --effort $(EFFORT) "$$TASK"

up: setup ## Run Temporal, the emulator and a worker until Ctrl-C
	@$(PROGRAM) up

down: setup ## Stop what `up` or `run` started
	@$(PROGRAM) down

# Nothing but protocol may be written to standard output, so what the set-up says goes elsewhere.
mcp: ## Serve agent runs as MCP tools over stdio, or HTTP: make mcp ARGS=--http
	@$(MAKE) --no-print-directory setup >&2
	@exec $(PROGRAM) mcp $(ARGS)

# All of it, with several workers, by the same versions as docker-compose.yml.
stack: setup ## Run Temporal on PostgreSQL, its Web UI and WORKERS=3 workers in the foreground
	@$(IN_VENV) durable_responses.embedded stack --workers $(WORKERS)

test: $(READY_TO_TEST) temporal ## Run the tests: make test TESTS=tests/test_settings.py
	@$(IN_VENV) pytest $(TESTS)

test-stack: $(READY_TO_TEST) ## Run 200 agents on `make stack` while its parts are killed (minutes)
	@$(IN_VENV) pytest -s tests/stack_lane.py

test-servers: $(READY_TO_TEST) ## Run agents on servers of others, and write the table of docs/servers.md (minutes): SERVERS=litellm
	@$(IN_VENV) pytest -s tests/servers_lane.py -k "$(SERVERS)"

test-traces: $(READY_TO_TEST) ## Look at a run's trace in Arize Phoenix, and take its picture (minutes)
	@$(IN_VENV) pytest -s tests/traces_lane.py

test-load: $(READY_TO_TEST) temporal ## Run 300 agents while their only worker is killed twice (minutes)
	@$(IN_VENV) pytest -s tests/load_lane.py

test-exits: $(READY_TO_TEST) temporal ## Run programs of the Python API 200 times under load (minutes): each must end well
	@$(IN_VENV) pytest -s tests/exits_lane.py

test-clients: $(READY_TO_TEST) temporal ## Try the clients of others: Codex, SDKs, the Open Responses suite (minutes)
	@$(IN_VENV) pytest -s tests/clients_lane.py

test-mcp-servers: $(READY_TO_TEST) ## Call the tools of MCP servers of others, and write the table of docs/mcp-servers.md (minutes)
	@$(IN_VENV) pytest -s tests/mcp_servers_lane.py

fuzz: $(READY_TO_TEST) ## Try mutations of real answers, more than `make test` does: make fuzz EXAMPLES=5000
	@$(IN_VENV) pytest --timeout 0 tests/fuzz --examples $(EXAMPLES)

check: $(READY_TO_TEST) ## Check format, lint, types and imports
	@$(IN_VENV) ruff format --check .
	@$(IN_VENV) ruff check .
	@$(IN_VENV) mypy .
	@.venv/bin/lint-imports --no-logo

bench: $(READY_TO_TEST) temporal ## Measure speed and memory
	@$(IN_VENV) dev.bench $(ARGS)

screenshots: $(READY_TO_TEST) temporal ## Take the pictures of docs/images anew, with a headless Chromium
	@$(IN_VENV) dev.screenshots docs/images

temporal: setup ## Print the path of the Temporal CLI; build it if necessary
	@$(IN_VENV) durable_responses.embedded temporal

# Three files, at the same versions: everything; what runs, here and in the image; what sets up .venv and builds the wheel.
lock: ## Pin the dependencies of pyproject.toml in the requirements*.txt
	@uv=$$(mktemp -d) && $(PYTHON) -m venv $$uv && $$uv/bin/pip install --quiet uv && \
	compile() { \
		$$uv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
			--python-version 3.11 --custom-compile-command "make lock" "$$@"; \
	} && \
	compile --extra dev --output-file requirements.txt pyproject.toml && \
	compile --extra otel --constraint requirements.txt --output-file requirements-runtime.txt pyproject.toml && \
	compile --group build --constraint requirements.txt --output-file requirements-build.txt; \
	code=$$?; rm -rf $$uv; exit $$code

clean: ## Remove .venv and caches; runs and their database stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info build dist
