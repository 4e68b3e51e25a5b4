# Everything a contributor or a CI machine runs. `make help` lists the targets.

VENV   := .venv
PY     := $(VENV)/bin/python
PYTHON ?= python3.11
LOCKED := $(VENV)/.locked
STAMP  := $(VENV)/.stamp
NODE   := node_modules/.stamp
WEB    := src/timewire/web_assets/index.html
# Without Node there is no web client, and everything else works.
IF_NODE := $(if $(shell command -v npm),web)

# Processes for the parallel part of the tests; 0 runs everything in one process.
JOBS ?= 2

# How long `make soak` hurts a server, besides its other parts.
SOAK_MINUTES ?= 10

.DEFAULT_GOAL := help
.PHONY: help setup web chromium faketime test check format demo demo-cluster screenshots web-trace bench bench-cluster bench-libraries bench-peers bench-check serve soak lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

setup: $(STAMP) ## make .venv from the lock file, when it is stale

# Two stamps, each written last, so that an installation that broke off is done again:
# a new lock makes the environment anew, a new pyproject.toml only installs Timewire again.
# The build backend comes from the lock too: nothing unpinned is fetched.
$(LOCKED): requirements/dev.lock
	PYTHON=$(PYTHON) scripts/make-venv $(VENV)
	$(PY) -m pip install --quiet --require-hashes -r requirements/dev.lock
	@touch $@

$(STAMP): $(LOCKED) pyproject.toml
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The same for Node: exact versions, each checked by its hash.
$(NODE): package-lock.json package.json sdk/typescript/package.json web/package.json
	@command -v npm >/dev/null || { echo "Timewire's TypeScript needs Node 20 and npm." >&2; exit 1; }
	npm ci --no-progress --loglevel=error
	@touch $@

web: $(WEB) ## build the web client

WEB_SOURCES := $(shell find web/src web/public web/*.html web/*.ts sdk/typescript/src -type f)

$(WEB): $(NODE) $(WEB_SOURCES)
	npm run build --silent --workspace web
	@touch $@

# Debian's Chromium drives the web client in the tests; elsewhere, any that is on the PATH.
chromium:
	@command -v chromium >/dev/null || { \
	  test "$$(id -u)" -eq 0 && apt-get update --quiet=2 && \
	  DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 chromium >/dev/null; } || { \
	  echo "The tests of the web client need Chromium: apt-get install chromium" >&2; exit 1; }

# Debian's libfaketime lets a server's clock jump; without it there is one fault less.
faketime:
	@command -v faketime >/dev/null || { \
	  test "$$(id -u)" -eq 0 && apt-get update --quiet=2 && \
	  DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 faketime >/dev/null; } || \
	  echo "No clock will jump: apt-get install faketime" >&2

# Tests marked `serial` measure time or want the machine for themselves: they run
# after the others, alone. Exit status 5 of pytest means that there are none.
test: setup web chromium faketime ## all tests
	$(PY) -m pytest tests -n $(JOBS) -m "not serial"
	$(PY) -m pytest tests -m serial || test $$? -eq 5
	npm test --silent

check: setup $(NODE) ## format, lint, types, layers, tidiness
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(VENV)/bin/basedpyright
	$(VENV)/bin/lint-imports
	$(PY) -m pytest -q tests/test_tidy.py
	npm run check --silent

format: setup $(NODE) ## rewrite the code in the house format
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .
	npm run format --silent

demo: setup $(IF_NODE) ## a short tour with a real server
	$(PY) examples/demo/run.py

demo-cluster: setup $(IF_NODE) ## the same with a whole cluster, of which three parts are killed
	$(PY) examples/demo/run.py --cluster

screenshots: setup web chromium ## make the pictures of the web client in docs/ anew
	$(PY) scripts/screenshots.py

web-trace: setup web chromium ## what scrolling through 10,000 messages costs a browser; TRACE_ARGS
	$(PY) scripts/web_trace.py $(TRACE_ARGS)

bench: setup ## measure; BENCH_ARGS are handed on
	$(PY) -m bench $(BENCH_ARGS)

bench-cluster: setup ## measure clusters on this machine; BENCH_ARGS are handed on
	$(PY) -m bench cluster $(BENCH_ARGS)

# Into the environment of the tests too: these run in one process with what they are compared with.
$(VENV)/.libraries: $(STAMP) requirements/libraries.lock
	$(PY) -m pip install --quiet --require-hashes -r requirements/libraries.lock
	@touch $@

bench-libraries: $(VENV)/.libraries ## timelines against other stores; LIBRARIES_ARGS are handed on
	$(PY) -m bench.libraries $(LIBRARIES_ARGS)

# Synapse and PostgreSQL in an environment of their own; the others are Debian's.
build/peers/.installed: requirements/peers.lock
	rm -rf build/peers
	PYTHON=$(PYTHON) scripts/make-venv build/peers
	build/peers/bin/python -m pip install --quiet --require-hashes -r requirements/peers.lock
	@touch $@

bench-peers: setup build/peers/.installed ## the same shapes with other servers; PEERS_ARGS are handed on
	scripts/install-peers
	$(PY) -m bench.peers $(PEERS_ARGS)

bench-check: setup ## has a message become dearer? --update in GUARD_ARGS takes it as it is
	$(PY) -m bench.guard $(GUARD_ARGS)

serve: setup $(IF_NODE) ## run a server; SERVE_ARGS are handed on
	$(VENV)/bin/timewire serve $(SERVE_ARGS)

soak: setup faketime ## the long runs: seeds, planted bugs, crashes, all faults for SOAK_MINUTES, growth (SOAK_ARGS)
	$(PY) -m timewire.testing.simulation --first 1000 --seeds 20000
	$(PY) scripts/mutants.py
	$(PY) -m timewire.testing.crash --first 1000 --seeds 200 --kills 5
	$(PY) -m timewire.testing.cluster_crash --first 1000 --seeds 50
	$(PY) -m timewire.testing.soak --minutes $(SOAK_MINUTES)
	$(PY) -m bench soak $(SOAK_ARGS)

# The dev lock is solved under the runtime lock, so both name the same versions.
# No headers, indexes or annotations: the files hold no host and no path.
UV_COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links

lock: setup $(NODE) ## solve the dependencies anew, to the newest versions
	$(UV_COMPILE) pyproject.toml --upgrade -o requirements/runtime.lock
	$(UV_COMPILE) pyproject.toml --upgrade --extra dev -c requirements/runtime.lock -o requirements/dev.lock
	$(UV_COMPILE) --upgrade --group libraries -c requirements/dev.lock -o requirements/libraries.lock
	$(UV_COMPILE) --upgrade --group peers -o requirements/peers.lock
	npm update --package-lock-only --silent

clean: ## remove everything that was made
	rm -rf $(VENV) node_modules sdk/typescript/dist src/timewire/web_assets build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests examples bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
