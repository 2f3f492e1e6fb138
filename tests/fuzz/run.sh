#!/usr/bin/env bash
# Runs each fuzz target for SECONDS on the stable toolchain and fails on the first crash.
#
#   run.sh SECONDS [TARGET…]
#
# What the fuzzer finds on the way gathers in target/corpus and is not committed. A crash leaves its input in
# artifacts/TARGET: mend the bug, then move the input into corpus/TARGET under a name that says what it was.
set -euo pipefail
seconds=${1:?usage: run.sh SECONDS [TARGET…]}
shift
cd "$(dirname "$0")"
# Not --version: a toolchain without cargo-fuzz fails there too, but so does a broken one.
if ! cargo fuzz --help >/dev/null 2>&1; then
    cargo install --locked --quiet --debug cargo-fuzz
fi
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    mapfile -t targets < <(ls corpus)
fi
# Without a sanitizer nothing of this needs a nightly compiler; memory safety is the compiler's business anyway, as
# protocol/ forbids unsafe code.
cargo fuzz build --fuzz-dir . -s none
for target in "${targets[@]}"; do
    mkdir -p "target/corpus/$target"
    log=target/$target.log
    if ! cargo fuzz run --fuzz-dir . -s none "$target" "target/corpus/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
        tail -n 200 "$log"
        exit 1
    fi
    printf '%-8s %s\n' "$target" "$(grep -E '^(Done|stat::new_units_added|#.* DONE)' "$log" | tr -s '\n\t ' ' ')"
done
