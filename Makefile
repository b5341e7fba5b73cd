# Everything a developer or a CI does. On a fresh machine only Node >= 20, npm and make are needed.
.DEFAULT_GOAL := help
.PHONY: help run test test-fast bench bench-federation bench-growth bench-port bench-search bench-small build docs fmt lint \
	check ok complement register \
	test-executable deb test-deb docker release interop rust-client

# The Deno that package-lock.json pins. `make build DENO=PATH` compiles with another one.
PINNED := ./node_modules/deno/deno
ALLOW := --allow-net --allow-read --allow-write --allow-env --allow-sys --allow-run
TOOL := $(PINNED) run --no-check $(ALLOW)
# Of the running server only; see packaging/v8_flags.ts.
V8_FLAGS := --v8-flags=--max-semi-space-size=2,--heap-growing-percent=30
SETUP := node_modules/.package-lock.json
CONFIG := data/homeserver.yaml

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

# `--version` makes the npm package put its program in place where npm did not run its install script.
$(SETUP): package-lock.json
	npm ci --no-audit --no-fund
	@./node_modules/.bin/deno --version >/dev/null
	@touch $@

$(CONFIG): | $(SETUP)
	@mkdir -p data
	$(TOOL) main.ts generate-config --server-name localhost --report-stats no --config-path $@ --data-directory data --config-directory data

run: $(SETUP) $(CONFIG) ## Serve on http://localhost:8008 with SQLite; the first time, install and write data/homeserver.yaml
	@echo "Register the first user, in another terminal: make register"
	@exec $(TOOL) $(V8_FLAGS) main.ts serve --config-path $(CONFIG)

register: $(SETUP) ## Register a user on the server that `make run` serves
	@exec $(TOOL) main.ts register-user --config $(CONFIG) http://localhost:8008

test: $(SETUP) ## Check and test everything, on SQLite and PostgreSQL
	@exec $(TOOL) tests/run.ts

test-fast: $(SETUP) ## Check, and test without PostgreSQL, command line and real clients
	@exec $(TOOL) tests/run.ts --fast

bench: $(SETUP) ## Measure the server, beside Synapse where SYNAPSE_VENV has one
	@exec $(TOOL) bench/compare.ts $(BENCH)

bench-federation: $(SETUP) ## Measure joins, transactions in and out, state resolution and disk against the targets; BENCH=join for one
	@exec $(TOOL) bench/federation/run.ts $(BENCH)

bench-growth: $(SETUP) ## Measure how costs grow with rooms, members and waiting clients
	@exec $(TOOL) bench/growth.ts $(BENCH)

bench-search: $(SETUP) ## Measure searching 200,000 messages, on SQLite and PostgreSQL
	@exec $(TOOL) bench/search_bench.ts $(BENCH)

bench-port: $(SETUP) ## Measure moving 1 GB from SQLite to PostgreSQL and back, killed and resumed on each way
	@exec $(TOOL) bench/port_bench.ts $(BENCH)

bench-small: $(SETUP) ## Measure the memory that a small homeserver takes under an hour's load in ten minutes
	@exec $(TOOL) bench/small.ts $(BENCH)

build: $(SETUP) ## Compile dist/synapse-ts; DENO=PATH compiles with another Deno, DENORT_BIN is passed on
	@exec $(TOOL) packaging/build.ts $(if $(DENO),--deno $(DENO))

test-executable: $(SETUP) ## Test dist/synapse-ts in an empty folder, without Deno
	@exec $(TOOL) tests/run.ts tests/executable/

deb: ## Make a Debian package of dist/synapse-ts
	@packaging/deb.sh

test-deb: $(SETUP) ## Install, start, upgrade and remove the Debian package in a clean root (root, debootstrap)
	@exec $(TOOL) tests/run.ts tests/packages/

docker: ## Build a container image of dist/synapse-ts
	docker build -f packaging/Dockerfile -t synapse-ts .

release: $(SETUP) ## Compile for every system into dist/release, with checksums and a list of what is inside (TARGETS)
	@exec $(TOOL) packaging/release.ts $(if $(DENO),--deno $(DENO)) $(TARGETS)

docs: $(SETUP) ## Write docs/configuration.md from the table of options
	@$(TOOL) packaging/configuration_docs.ts

fmt: $(SETUP) ## Format all sources
	@$(PINNED) fmt --quiet

lint: $(SETUP) ## Check the conventions
	@$(PINNED) lint --quiet

check: $(SETUP) ## Check the types
	@$(PINNED) check .

ok: test build test-executable ## All that CI does

complement: $(SETUP) ## Run Complement (COMPLEMENT_DIR) and update tests/complement.tsv
	@exec $(TOOL) tests/complement/run.ts $(COMPLEMENT)

interop: $(SETUP) ## Federate with a real Synapse (SYNAPSE_VENV, else installed with pip)
	@exec $(TOOL) tests/interop/run.ts $(INTEROP)

rust-client: $(SETUP) ## Chat with the SDK of Element X, built with cargo (ten minutes the first time)
	@exec $(TOOL) tests/interop/rust_sdk/run.ts
