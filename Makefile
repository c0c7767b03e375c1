# binpulse: the commands of daily work. `make help` lists them.

SHELL := /bin/bash
CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/binpulse
DENY := $(firstword $(shell command -v cargo-deny) $(CACHE)/tools/bin/cargo-deny)
DENY_VERSION := 0.20.2
MUTANTS := $(firstword $(shell command -v cargo-mutants) $(CACHE)/tools/bin/cargo-mutants)
MUTANTS_VERSION := 27.1.0
MUTANTS_PYTHON := $(CACHE)/tools/mutants-0.26.1-0.24.2/bin/python
FETCH := python3 tests/support/deps.py

.PHONY: help deps demo-deps client-deps demo demo-billing test test-clients test-compose simulate soak takeovers faults big fuzz lint bench peers guard mutate-alerts mutants audit sbom build

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

deps: ## Fetch the servers and tools of the tests (no root, no containers)
	$(FETCH) mysql mariadb ministack promtool alertmanager --optional mysql-8.0 mysql-5.7 mysql-5.6 mariadb-11.8 postgresql redis
	python3 tests/support/axe.py

demo-deps:
	$(FETCH) mysql ministack

build: ## Build the release binary
	cargo build --release --locked

demo: demo-deps ## Watch it work: private MySQL, SNS stand-in, shop workload, consumer
	cargo build --release --locked --workspace
	target/release/binpulse-demo

# Debezium Server stands beside the relay once `benches/peers/fetch.sh debezium-server` has fetched it; it needs
# Java 21.
DEBEZIUM_SERVER := $(wildcard .deps/peers/debezium-server)
JAVA_21 := $(lastword $(sort $(wildcard /usr/lib/jvm/*-2[1-9]-*)))

demo-billing: demo-deps ## 100,000 charges by webhook, each charged once, under kills and duplicates (BILLING_CHARGES, BILLING_SEED)
	cargo build --release --locked --workspace
	JAVA_HOME=$(or $(JAVA_21),$(JAVA_HOME)) target/release/binpulse-demo billing \
		$(if $(DEBEZIUM_SERVER),--debezium $(DEBEZIUM_SERVER))

test: deps ## The whole test suite, and what of it took longest
	python3 -B tests/run.py

client-deps: ## Build the examples of the client libraries, which live tests run (Go, Java and Node.js where they are installed)
	python3 clients/test.py --build

test-clients: deps ## The client libraries by the conformance suite (Go, Java and Node.js where they are installed)
	.deps/venv/bin/python clients/test.py

test-compose: deps ## docker/compose.yaml brought up from a fresh clone (a Docker engine, or root and dockerd; else skipped)
	python3 tests/compose/main.py

simulate: ## The whole service in virtual time: SIMULATE_SEEDS seeds, or one, SIMULATE_SEED (docs/develop/simulation.md)
	SIMULATE_SEEDS=$${SIMULATE_SEEDS:-2000} cargo test --locked --workspace --test simulate

soak: deps ## Random work and random faults, and proof that nothing is lost (docs/develop/soak.md)
	SOAK_SECONDS=$${SOAK_SECONDS:-600} cargo test --locked --test soak
	SOAK_SECONDS=$${SOAK_SECONDS:-600} cargo test --locked --test live -- relay_soak --nocapture

takeovers: deps ## Losses of the process that runs a stream with standbys, TAKEOVERS of each of 8 kinds (29): how long each takes, and proof that nothing is lost
	TAKEOVERS=$${TAKEOVERS:-29} SOAK_SECONDS=$$(($${TAKEOVERS:-29} * 120)) \
		cargo test --locked --test live -- takeover_times

faults: deps ## Real faults, and what is said of each, into docs/develop/experiment.md (FAULTS, FAULTS_ROUNDS, FAULTS_SEED)
	FAULTS_ROUNDS=$${FAULTS_ROUNDS:-1} FAULTS_REPORT=$${FAULTS_REPORT:-$(CURDIR)/target/faults} \
		cargo test --locked --test faults
	[ -n "$$FAULTS" ] || cp target/faults/experiment.md docs/develop/experiment.md

big: deps ## Large and odd data in full size, with the peak memory of each case (about 10 GB of disk)
	BINPULSE_TEST_BIG=1 cargo test --locked --test big

fuzz: ## Each fuzz target for FUZZ_SECONDS (needs cargo-fuzz and a nightly compiler)
	for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run -s none $$target -- -max_total_time=$${FUZZ_SECONDS:-60} \
			-timeout=20 -rss_limit_mb=1024 || exit 1; \
	done

mutate-alerts: deps ## Change each part of each alert rule, and see its promtool tests fail
	python3 tests/support/mutate_alerts.py

mutants: $(MUTANTS) $(MUTANTS_PYTHON) ## Change single points of the code, and see a test fail (docs/develop/mutants.md)
	PATH=$(CACHE)/tools/bin:$$PATH $(MUTANTS_PYTHON) -B tests/support/mutants.py $(FOLDERS)

lint: $(DENY) ## Formatting, clippy, dependency policy
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo rustc --locked --lib --profile check -- -D dead_code  # without what only tests reach
	cargo fetch --locked  # cargo-deny reads the crates of every platform, a build fetches those of its own
	$(DENY) --offline check bans licenses sources

audit: $(DENY) ## Dependency policy with security advisories (needs the network)
	$(DENY) check

sbom: ## What the binary is made of, as CycloneDX: target/binpulse.cdx.json
	python3 .ci/sbom.py

bench: demo-deps ## All benchmarks but the peers, on a machine with nothing else to do (BINPULSE_BENCH_SCALE)
	cargo bench --locked --bench bench

peers: demo-deps ## Other readers of the same logs beside binpulse: fetched, then measured (benches/peers)
	benches/peers/fetch.sh
	cargo bench --locked --bench bench -- peers

guard: ## Instructions a row, compared with those of before (valgrind; BINPULSE_REGENERATE=1 keeps new ones)
	cargo bench --locked --bench guard

$(CACHE)/tools/bin/cargo-deny:
	cargo install --locked --root $(CACHE)/tools cargo-deny --version $(DENY_VERSION)

$(CACHE)/tools/bin/cargo-mutants:
	cargo install --locked --root $(CACHE)/tools cargo-mutants --version $(MUTANTS_VERSION)

$(MUTANTS_PYTHON):
	python3 -m venv $(dir $(@D))
	$@ -m pip install --quiet --disable-pip-version-check tree-sitter==0.26.1 tree-sitter-rust==0.24.2 || (rm $@; false)
