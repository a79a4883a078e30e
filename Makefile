# What people and machines type. `make` alone tells what there is.
# Everything that is missing is installed by the target that needs it; a target fails when it cannot be had.

CARGO ?= cargo
BIN := target/release/cloakroom
export NEXT_TELEMETRY_DISABLED := 1
# Where tests/node.sh puts what the machine lacks.
export PATH := $(CURDIR)/target/tools/bin:$(PATH)

.PHONY: help run test unit unit-lib unit-sockets lint fuzz memcheck clients compat e2e packaging dist cross soak bench peers clean tools toolchain

help: ## This list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: toolchain ## Run the server on its defaults: Redis clients on 127.0.0.1:6379, sessions on http://127.0.0.1:8379
	$(CARGO) run --release -- $(ARGS)

test: tools ## Everything that must hold before anybody gets it
	@# Two compilers, of which each works on one crate at a time for most of its time.
	$(MAKE) --no-print-directory -j2 -Otarget lint $(BIN)
	$(MAKE) --no-print-directory unit
	@# These wait more than they work, so they share the machine.
	$(MAKE) --no-print-directory -j2 -Otarget clients compat e2e packaging memcheck
	@echo "all tests passed"

lint: toolchain ## Formatting, lints and dependencies; warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) clippy --no-default-features --lib --example embed --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --locked --quiet --no-default-features
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --locked --quiet
	tests/examples.py
	tests/deny.sh

unit: toolchain ## Rust tests: units, transcripts, models, sockets, docs
	$(CARGO) test --locked --no-run --lib --test '*'
	@# Units work and sockets wait, so they share the machine.
	$(MAKE) --no-print-directory -j2 -Otarget unit-sockets unit-lib

unit-lib: toolchain
	$(CARGO) test --locked --lib
	$(CARGO) test --locked --doc
	$(CARGO) run --locked --no-default-features --example embed

unit-sockets: toolchain
	$(CARGO) test --locked --test '*'

fuzz: tools ## Every fuzz target for T=60 seconds, or those of TARGETS="glob http"; what is found lands in fuzz/artifacts
	T=$(or $(T),60) SEED=$(SEED) fuzz/run.sh $(TARGETS)

memcheck: tools ## The store under valgrind, as the crates below it have unsafe code
	tests/memcheck.sh

$(BIN): $(shell find src -name '*.rs') Cargo.toml Cargo.lock | toolchain
	$(CARGO) build --release --locked

clients: tools $(BIN) ## Real Redis clients and session libraries against the binary
	CLOAKROOM_BIN=$(abspath $(BIN)) tests/clients/run.sh

compat: tools $(BIN) ## Redis' own test suite; fails when a test that passed before does not
	CLOAKROOM_BIN=$(abspath $(BIN)) tests/compat/run.py
	CLOAKROOM_BIN=$(abspath $(BIN)) tests/compat/differ.py --corpus

e2e: tools $(BIN) ## Next.js with NextAuth v4 and Auth.js v5 in a real browser, with and without cloakroom
	CLOAKROOM_BIN=$(abspath $(BIN)) node tests/e2e/run.mjs

packaging: tools $(BIN) ## Completions, the Dockerfile, the systemd unit and what is in the crate
	CLOAKROOM_BIN=$(abspath $(BIN)) tests/packaging.sh

dist: tools $(BIN) ## Archives with static binaries, a Debian package and checksums, into dist/, and tried
	packaging/dist.sh
	CLOAKROOM_BIN=$(abspath $(BIN)) tests/packaging.sh dist

cross: ## cargo check for Windows, macOS and Linux on ARM
	packaging/cross.sh

soak: $(BIN) ## All kinds of clients and faults at once for T seconds (600); fails on a wrong answer, or if anything grows
	CLOAKROOM_BIN=$(abspath $(BIN)) SOAK_SECONDS=$(or $(T),600) SOAK_CONNECTS=1000 $(CARGO) test --locked --test it soak:: -- --nocapture

bench: tools ## Criterion, and the peers that are installed
	$(CARGO) bench

peers: tools ## Beside Redis, nginx and others: one table, and docs/peers.svg; ARGS="--rounds 1 --seconds 0.2" for a look
	$(CARGO) bench --bench peers -- $(ARGS)
	$(CARGO) bench --bench pauses
	$(CARGO) bench --bench ratio
	$(CARGO) bench --bench peers -- --report

# Which of what cargo needs is missing, and what brings it.
toolchain:
	@command -v $(firstword $(CARGO)) >/dev/null \
		|| { echo 'cargo is missing: install Rust 1.95 or newer, as by https://rustup.rs' >&2; exit 1; }
	@printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | cc -x c -o /dev/null - 2>/dev/null \
		|| { echo 'a C compiler that works is missing: on Debian, apt-get install gcc libc6-dev' >&2; exit 1; }

tools: ## Debian packages that the tests drive, installed when root and missing
	tests/tools.sh

clean: ## Everything that was built
	$(CARGO) clean
	rm -rf examples/*/.next examples/*/node_modules tests/*/node_modules
