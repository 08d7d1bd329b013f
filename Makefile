# Every chore is one command. `make help` lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
TOOLS  := $(VENV)/.tools-installed

.DEFAULT_GOAL := help
# What `make test-real` installs below .cache/, each by scripts/install-NAME; OPT_IN costs minutes, or is for benchmarks alone.
INSTALLED := chromium axe unleash engines prometheus clients webhooks typescript edge-tools kafka
OPT_IN    := goff sdk-peers flink registry
.PHONY: help setup setup-dev compiled demo dev test test-real $(INSTALLED:%=install-%) $(OPT_IN:%=install-%) lock check audit format docs bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: $(STAMP) ## make .venv from requirements.lock; costs nothing the second time

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with make PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "$(PYTHON) is not Python 3.11 to 3.13; name one with make PYTHON=..."; exit 1; }
	@echo "Installing $$(grep -c '^[a-z].*==' requirements.lock) packages into $(VENV), the first time only: a minute or two."
	@test -x $(PY) || "$(PYTHON)" -m venv $(VENV)
	@$(PY) -m uv --version >/dev/null 2>&1 || $(PY) -m pip install --quiet --disable-pip-version-check uv
	@echo "  downloading, checking their hashes, compiling ..."
	@$(PY) -m uv pip install --quiet --compile-bytecode --python $(PY) --require-hashes -r requirements.lock
	$(PY) -m uv pip install --quiet --python $(PY) --no-deps -e .
	@touch $(STAMP)

setup-dev: $(TOOLS) ## the same and what tests and checks need, from requirements-dev.lock

$(TOOLS): $(STAMP) requirements-dev.lock
	$(PY) -m uv pip install --quiet --compile-bytecode --python $(PY) --require-hashes -r requirements-dev.lock
	@touch $(TOOLS)

# After a change of the dependencies in pyproject.toml; versions that still fit stay. UPGRADE=--upgrade takes the newest.
LOCK := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url $(UPGRADE)
lock: setup ## write requirements.lock and requirements-dev.lock anew from pyproject.toml
	$(PY) -m $(LOCK) pyproject.toml --extra collector --extra pipeline --extra postgres --extra kafka --extra flagd --extra unleash -o requirements.lock
	$(PY) -m $(LOCK) --group dev -c requirements.lock -o requirements-dev.lock

demo: setup ## 30 full days of planted traffic through everything, a report, and a drill of the guard; in .gtm-demo
	$(VENV)/bin/gtm demo

dev: setup ## collector, stream worker, Dagster and its web UI on your own data; Ctrl-C ends all; BROKER=kafka: behind a Kafka of its own
ifeq ($(BROKER),kafka)
	scripts/install-kafka
	scripts/with-kafka .gtm-kafka $(VENV)/bin/gtm dev
else
	$(VENV)/bin/gtm dev
endif

# Two workers a core, since tests wait for disks and clocks. What they compile is kept, whatever the shell says: every
# worker and every program that a test starts would compile it again.
WORKERS ?= $(shell "$(PYTHON)" -c 'import os; print(min(2 * (os.cpu_count() or 1), 8))')
# One more than there are cores: the other tests begin whole programs, and take up to a gigabyte. tests/workers.py says
# which of them share a worker.
REAL_WORKERS ?= $(shell "$(PYTHON)" -c 'import os; print(min((os.cpu_count() or 1) + 1, 8))')
PYTEST  := env -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest -q

compiled: setup-dev # once, on every core: the workers begin together, and each would compile it all
	@$(PY) -m compileall -q -j 0 gtm_dagster

test: compiled ## every behaviour that needs Python alone, in about thirteen minutes on two cores; WORKERS=4, WITHOUT=hypothesis
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "not real and not simulation and not slow$(if $(WITHOUT), and not $(WITHOUT))"

test-real: compiled $(INSTALLED:%=install-%) ## all other tests, in about forty minutes on two cores: slow ones, full property tests, simulations, real components (which it installs below .cache/); REAL_WORKERS=3
	$(PYTEST) -n $(REAL_WORKERS) --dist loadscope --hypothesis-profile=full -m "real or simulation or slow or hypothesis"

install-chromium: ## Chromium for what is tested in a browser
install-axe: ## axe-core for the tests of accessibility
install-unleash: ## PostgreSQL and Unleash for the tests of real components
install-engines: setup ## Spark and the last DuckDB 1.5 for the tests of engine conformance
install-prometheus: ## Prometheus and promtool for the tests of the alert rules
install-clients: setup ## the clients of Segment, RudderStack, PostHog, Snowplow and others, for the tests that send with each
install-webhooks: ## Standard Webhooks' library for JavaScript, which checks the signatures
install-typescript: ## the TypeScript compiler for the test of what gtm plan export writes
install-edge-tools: setup ## schemathesis and atheris for the tests of the collector's edge
install-kafka: ## Kafka for the tests of the event log behind a broker, and for make dev BROKER=kafka
install-registry: ## opt-in: Apicurio Registry for the test of gtm plan publish with a real schema registry (two minutes)
install-goff: ## opt-in: build the GO Feature Flag relay proxy (six minutes, needs Go)
install-sdk-peers: setup ## opt-in: the SDKs that benchmarks.sdk_exit and benchmarks.sdk_track compare ours with
install-flink: ## opt-in: PyFlink and its connector to Kafka (850 MB) for the tests of rules as a job of Flink

$(INSTALLED:%=install-%) $(OPT_IN:%=install-%): install-%:
	scripts/install-$*

check: setup-dev ## lint, format, types, import law
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m pytest -q tests/test_import_law.py

audit: setup ## licences of what a user installs, and known vulnerabilities of both lock files (exit code 3: no advisories reached)
	$(PY) scripts/licences.py
	$(PY) scripts/audit.py

docs: setup ## write docs/tables.md from the declared tables
	$(PY) -m gtm_dagster.warehouse.schema.documents > docs/tables.md

format: setup-dev ## let ruff put the format right
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

EVENTS ?= 1000000
bench: setup-dev ## what each step costs here, beside the limit and other means; EVENTS=1000000
	scripts/install-peers
	$(PY) -m benchmarks.spine --events $(EVENTS) --limit --peers --verify
	$(PY) -m benchmarks.small_refresh --events $(EVENTS)
	$(PY) -m benchmarks.imports --rows $(EVENTS)
	$(PY) -m benchmarks.collector
	$(PY) -m benchmarks.loader
	$(PY) -m benchmarks.guard
	$(PY) -m benchmarks.triggers
	$(PY) -m benchmarks.gate
	scripts/install-sdk-peers
	$(PY) -m benchmarks.sdk_exit
	$(PY) -m benchmarks.sdk_track

clean: ## remove caches; the state directory stays
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
