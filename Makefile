# `make test` is what has to pass; the targets it is made of can be run alone.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
CLIENTS := crates/fanfare/tests/clients
MATRIX := crates/fanfare/tests/matrix
# Seeds of the simulation beyond those that it runs as an ordinary test.
SIM_SEEDS ?= 20000
# Tokio's bound: more preemptions cost much and have found nothing.
LOOM_MAX_PREEMPTIONS ?= 2
WASM := wasm32-unknown-unknown

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run build test setup fmt lint unit docs integration loom sim clients examples matrix \
	load wasm deny advisories bench ops deb proxies

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start a hub
	@cargo run --release --locked

build: ## Build the binary: target/release/fanfare
	@cargo build --quiet --release --locked

TESTS := setup fmt lint unit docs integration wasm loom sim clients examples matrix proxies load ops
test: $(TESTS) ## Run all tests

setup: ## Install what the tests with real clients need
	@$(CLIENTS)/setup
	@examples/tests/setup
	@$(MATRIX)/setup

fmt: ## Check that the code is formatted
	@cargo fmt --all --check

lint: ## Run clippy; a warning is an error
	@cargo clippy --quiet --workspace --all-targets --locked -- -D warnings

unit: ## Run the unit tests
	@cargo test --quiet --workspace --locked --lib --bins

docs: ## Run the examples in the documentation
	@cargo test --quiet --workspace --locked --doc

integration: ## Run the tests over real sockets, and tidy
	@cargo test --quiet --workspace --locked --test '*'

loom: ## Run the models of concurrency
	@RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=$(LOOM_MAX_PREEMPTIONS) \
		cargo test --quiet -p fanfare-core --release --locked --lib loom \
		--target-dir $(TARGET_DIR)/loom

sim: ## Run the simulation with SIM_SEEDS seeds
	@FANFARE_SIM_SEEDS=$(SIM_SEEDS) \
		cargo test --quiet -p fanfare-core --release --locked --test simulation

clients: build ## Run the tests with real clients: curl, Node, Python, Chromium
	@FANFARE_BIN=$(TARGET_DIR)/release/fanfare $(CLIENTS)/run

examples: build ## Run the tests of the examples and of the client module
	@FANFARE_BIN=$(TARGET_DIR)/release/fanfare examples/tests/run

matrix: build ## Run every client of docs/clients.md, and compare its table
	@FANFARE_BIN=$(TARGET_DIR)/release/fanfare $(MATRIX)/run

proxies: build ## Run the tests of the recipes for proxies
	@FANFARE_BIN=$(TARGET_DIR)/release/fanfare ops/proxies/tests/run

load: build ## Run each scenario of the load generator, and each bench once
	@cargo build --quiet --release --locked -p fanfare-loadtest
	@loadtest/smoke $(TARGET_DIR)/release/fanfare-loadtest $(TARGET_DIR)/loadtest
	@cargo test --quiet --locked -p fanfare-benches --benches

ops: build ## Run the tests of ops/: rules, dashboard, unit, package, image, manifests
	@FANFARE_BIN=$(TARGET_DIR)/release/fanfare ops/tests/run

deb: build ## Build the Debian package, in target/debian
	@ops/debian/build $(TARGET_DIR)/release/fanfare $(TARGET_DIR)/debian

# Not part of `make test`: it takes ten minutes, and a machine that does nothing else.
bench: build ## Measure the bars of performance, each beside its baseline
	@cargo build --quiet --release --locked -p fanfare-loadtest
	@cargo test --quiet --release --locked -p fanfare-benches --test allocations -- --nocapture \
		> $(TARGET_DIR)/allocations.txt || { cat $(TARGET_DIR)/allocations.txt; exit 1; }
	@$(TARGET_DIR)/release/fanfare-loadtest bars --report $(TARGET_DIR)/bench \
		--allocations $(TARGET_DIR)/allocations.txt

wasm: ## Check that the core does no IO, where that target is installed
	@if rustup target list --installed 2>/dev/null | grep -qx $(WASM); then \
		cargo check --quiet -p fanfare-core --locked --target $(WASM); fi

# Not part of `make test`: cargo-deny takes minutes to build. `cargo install cargo-deny` gets it.
deny: ## Check licences and sources of dependencies (needs cargo-deny)
	@cargo deny --locked check bans licenses sources

advisories: ## Check dependencies for known defects (needs cargo-deny and the network)
	@cargo deny --locked check advisories
