# binpulse: the commands of daily work. `make help` lists them.

SHELL := /bin/bash
CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/binpulse
DENY := $(firstword $(shell command -v cargo-deny) $(CACHE)/tools/bin/cargo-deny)
DENY_VERSION := 0.20.2
FETCH := python3 tests/support/deps.py

.PHONY: help deps demo-deps demo test soak big fuzz lint bench audit build

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

deps: ## Fetch the servers and tools of the tests (no root, no containers)
	$(FETCH) mysql mariadb ministack promtool alertmanager --optional mysql-8.0 mysql-5.7 mysql-5.6

demo-deps:
	$(FETCH) mysql ministack

build: ## Build the release binary
	cargo build --release --locked

demo: demo-deps build ## Watch it work: private MySQL, SNS stand-in, shop workload, consumer
	target/release/binpulse demo

test: deps ## The whole test suite
	cargo test --locked

soak: deps ## Random work and random faults, and proof that nothing is lost (SOAK_SECONDS, SOAK_SEED)
	SOAK_SECONDS=$${SOAK_SECONDS:-600} cargo test --locked --test soak

big: deps ## Large and odd data in full size, with the peak memory of each case (about 10 GB of disk)
	BINPULSE_TEST_BIG=1 cargo test --locked --test big

fuzz: ## Each fuzz target for FUZZ_SECONDS (needs cargo-fuzz and a nightly compiler)
	for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run -s none $$target -- -max_total_time=$${FUZZ_SECONDS:-60} \
			-timeout=20 -rss_limit_mb=1024 || exit 1; \
	done

lint: $(DENY) ## Formatting, clippy, dependency policy
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	$(DENY) --offline check bans licenses sources

audit: $(DENY) ## Dependency policy with security advisories (needs the network)
	$(DENY) check

bench: demo-deps ## Benchmarks
	cargo bench --locked

$(CACHE)/tools/bin/cargo-deny:
	cargo install --locked --root $(CACHE)/tools cargo-deny --version $(DENY_VERSION)
