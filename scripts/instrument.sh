#!/bin/sh
# Stands between cargo and rustc for this project's own crates (RUSTC_WORKSPACE_WRAPPER) and has the
# compiler count which branches run, for libFuzzer. Programs that run while building are left alone:
# nothing there takes the counts.
for argument; do
    case $argument in build_script_*) exec "$@" ;; esac
done
exec "$@" \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cdebug-assertions=on \
    -Coverflow-checks=on
