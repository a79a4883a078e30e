#!/bin/sh
# Whether the tree of dependencies holds only what deny.toml allows, and nothing that RustSec warns of. cargo-deny is installed
# when it is missing, without optimisation, which would take several times as long to build as it ever saves.
set -eu
cd "$(dirname "$0")/.."
export PATH="$PWD/target/tools/bin:${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
cargo deny --version >/dev/null 2>&1 ||
    tests/retry.sh cargo install --locked --quiet --debug --root target/tools --version '^0.20' cargo-deny
# It looks at what other systems would build as well, which no build here has downloaded.
tests/retry.sh cargo fetch --locked --quiet
cargo deny --offline --log-level error check --hide-inclusion-graph bans licenses sources
# The database of advisories is a repository that has to be fetched; where that cannot be reached the rest holds all the same.
if timeout 60 cargo deny --log-level off fetch db >/dev/null 2>&1; then
    cargo deny --offline --log-level error check --hide-inclusion-graph advisories
else
    echo "advisories: not looked at, as their database cannot be fetched from here"
fi
