# Every chore of the project. `make help` lists them; longer ones are scripts under scripts/.
.DEFAULT_GOAL := help
# Whatever a shell has set: only `make prepare` (which says so itself) asks a database while building.
export SQLX_OFFLINE := true
.PHONY: help demo test e2e api chaos chaos-short chaos-own-postgres fuzz lint fmt prepare schema deb advisories bench bench-audit bench-claims bench-hostile bench-memory bench-notifier bench-heard bench-backtest bench-policy setup

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## see who is muted and why, on Postgres and a LiveKit double (ARGS=--once ends by itself)
	@scripts/setup linker postgres
	cargo run -- demo $(ARGS)

test: ## unit, integration, contract and e2e tests; installs what they need
	@scripts/test

e2e: ## only the tests against real servers and clients
	@scripts/test e2e

api: ## a longer try of the API by its description (EXAMPLES=500; API_SEED=... repeats)
	@scripts/setup linker postgres python
	cargo build --bin quell
	@. scripts/versions.sh && API_EXAMPLES=$(or $(EXAMPLES),500) "$$tools_dir/venv/bin/python" -m pytest -s tests/e2e/test_api.py

chaos: ## kill, cut, swallow and fail over until the bars are met; goes on where it ended (ARGS="--seed 42" repeats)
	@scripts/setup linker postgres faketime python
	cargo build --release --bin quell
	@. scripts/versions.sh && QUELL_BIN=target/release/quell "$$tools_dir/venv/bin/python" tests/chaos --record target/chaos.json $(ARGS)

chaos-short: ## two minutes of it, with a fault of each kind
	@scripts/test chaos

chaos-own-postgres: ## quell's own Postgres killed under full load: events are taken within 5 s of its end (KILLS=5)
	@scripts/setup linker postgres python
	cargo build --release --bin quell
	@. scripts/versions.sh && QUELL_BIN=target/release/quell "$$tools_dir/venv/bin/python" tests/chaos --own-postgres $(or $(KILLS),5) $(ARGS)

fuzz: ## hostile input for all that reads policies and metadata (SECONDS=60 in all; ARGS='globs FILE' repeats)
	@scripts/fuzz --seconds $(or $(SECONDS),60) $(ARGS)

lint: ## format, clippy, dependencies, prepared SQL
	@scripts/lint

fmt: ## format the code
	cargo fmt --all

prepare: ## write .sqlx anew after a change of SQL
	@scripts/prepare

schema: ## write policies/*schema.json and docs/openapi.json anew after a change of policies or of the API
	cargo build --bin quell
	target/debug/quell policy schema > policies/schema.json
	target/debug/quell policy schema --tests > policies/test.schema.json
	target/debug/quell openapi > docs/openapi.json

deb: ## a Debian package, in target/debian
	@scripts/deb

advisories: ## known weaknesses of dependencies (asks the network)
	@scripts/setup deny
	@. scripts/versions.sh && "$$tools_dir/bin/cargo-deny" check advisories

bench: ## how soon quell mutes and answers under load, beside pgbench (ARGS="--only forbidden --seconds 10")
	@scripts/setup linker postgres python
	cargo build --release --bin quell
	cargo build --release --package quell-load
	@. scripts/versions.sh && QUELL_BIN=target/release/quell "$$tools_dir/venv/bin/python" benches/load/bench_load.py $(ARGS)

bench-hostile: ## what a tenant that floods, reads slowly or pads its texts costs the others
	@scripts/setup linker postgres python
	cargo build --release --bin quell
	@. scripts/versions.sh && QUELL_BIN=target/release/quell "$$tools_dir/venv/bin/python" benches/hostile/bench_hostile.py $(ARGS)

bench-memory: ## whether memory stays flat in 20 minutes of full load
	@scripts/setup linker postgres python
	cargo build --release --bin quell
	cargo build --release --package quell-load
	@. scripts/versions.sh && QUELL_BIN=target/release/quell "$$tools_dir/venv/bin/python" benches/load/bench_memory.py $(ARGS)

bench-notifier: ## what one busy room loses in the real livekit-server's notifier (needs Go)
	@scripts/setup linker postgres python
	cargo build --release --bin quell
	go build -C benches/notifier -o ../../target/notifier .
	@. scripts/versions.sh && QUELL_BIN=target/release/quell "$$tools_dir/venv/bin/python" benches/notifier/bench_notifier.py --notifier target/notifier $(ARGS)

bench-claims: ## claims of jobs while a million finished ones cannot be removed
	@benches/claims/bench_claims.sh

bench-audit: ## how soon the audit answers, on ten million rows (ARGS=--plans)
	@scripts/setup linker postgres python
	cargo build --release --bin quell
	@. scripts/versions.sh && QUELL_BIN=target/release/quell "$$tools_dir/venv/bin/python" benches/audit/bench_audit.py $(ARGS)

bench-heard: ## frames of a forbidden microphone that others hear, with and without quell
	@scripts/setup linker postgres python livekit
	cargo build --release --bin quell
	@. scripts/versions.sh && QUELL_BIN=target/release/quell "$$tools_dir/venv/bin/python" benches/heard/bench_heard.py $(ARGS)

bench-backtest: ## the time of a backtest over a million tracks
	@scripts/setup linker postgres python
	cargo build --release --bin quell
	@. scripts/versions.sh && QUELL_BIN=target/release/quell "$$tools_dir/venv/bin/python" benches/backtest/bench_backtest.py $(ARGS)

# A package of its own, with a target folder of its own: nothing else here compiles the other engines.
bench-policy: export CARGO_TARGET_DIR := $(CURDIR)/target/peers
bench-policy: ## decisions alone and beside cel, cedar-policy, casbin, regorus, proven equal first
	@scripts/setup linker
	cd benches/peers && cargo bench --locked --bench memory
	cd benches/peers && cargo bench --locked --bench decide -- $(ARGS)
	cd benches/peers && cargo bench --locked --features peers --bench peers_memory
	cd benches/peers && cargo bench --locked --features peers --bench peers -- $(ARGS)
	@cd benches/peers && cargo bench --quiet --locked --bench table

setup: ## install everything that the other targets would
	@scripts/setup rust linker cpp postgres pgbouncer faketime prometheus python typescript jq livekit sqlx deny deb
