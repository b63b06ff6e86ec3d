#!/bin/sh
# Says what is missing before anything is built, instead of failing in the middle.

missing=0

lacks() {
    echo "make: $1" >&2
    missing=1
}

if ! command -v cargo >/dev/null; then
    lacks "cargo is missing: install Rust with rustup (the version is in rust-toolchain.toml)"
elif ! cargo --version >/dev/null; then
    lacks "cargo does not start here: \`rustup toolchain install\` fetches the version in rust-toolchain.toml"
fi

if ! command -v node >/dev/null; then
    lacks "node is missing: install Node.js 20 or newer"
elif ! node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)'; then
    lacks "Node.js $(node --version) is too old: install 20 or newer"
fi

command -v npm >/dev/null || lacks "npm is missing: it comes with Node.js, or as Debian's package npm"
command -v cc >/dev/null || lacks "a C compiler is missing: on Debian, \`apt-get install gcc libc6-dev\`"

exit $missing
