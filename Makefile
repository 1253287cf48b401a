# Everyday commands. `make help` lists them.

.DEFAULT_GOAL := help
export PATH := $(CURDIR)/target/tools/bin:$(PATH)

# What `make breaking` compares the contract with.
AGAINST ?= .git\#branch=main,subdir=proto

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Serve with demonstration data on a private Postgres
	scripts/install-postgres
	cargo run --release --locked -- serve --demo

.PHONY: test
test: ## Run all tests, against a private Postgres
	scripts/install-postgres
	cargo test --locked

# Property tests draw the same cases on every run of `make`, so that what fails was changed; `make properties` draws others.
export PROPTEST_RNG_SEED ?= 20261124

.PHONY: properties
properties: ## Run the property tests of rules on many cases, other ones each time
	env -u PROPTEST_RNG_SEED PROPTEST_CASES=4096 cargo test --locked $(patsubst tests/%.rs,--test %,$(wildcard tests/domain_*.rs))

.PHONY: cases
cases: ## Run hard cases through the port (FILE=path; all of data/cases*.toml without)
	scripts/install-postgres
	cargo test --locked --test cases -- $(abspath $(FILE))

.PHONY: model
model: ## Hold ten thousand random steps against the simple model (takes minutes)
	scripts/install-postgres
	cargo test --locked --test it -- --ignored model::

.PHONY: lint
lint: ## Check formatting, lints, the contract's style, and dependencies' licences
	scripts/install-lint-tools
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	buf lint proto
	buf format --diff --exit-code --exclude-path proto/google proto
	@if cargo deny --version >/dev/null 2>&1; then \
		echo 'cargo deny --locked check licenses bans sources' && cargo deny --locked check licenses bans sources; \
	else \
		echo 'Skipped: cargo deny check licenses bans sources (cargo install cargo-deny --locked)'; \
	fi

.PHONY: breaking
breaking: ## Check that the contract breaks no caller of the one on main (or AGAINST=...)
	scripts/install-lint-tools
	buf breaking proto --against '$(AGAINST)'

.PHONY: bench
bench: ## Measure what is claimed about speed (BENCH='--quick', BENCH=--help)
	scripts/install-postgres
	cargo bench --locked --bench service -- $(BENCH)

.PHONY: format
format: ## Format the code and the contract
	scripts/install-lint-tools
	cargo fmt
	buf format --write --exclude-path proto/google proto
