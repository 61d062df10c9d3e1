#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh - let the fuzz targets that make fuzz has built search, one after the other
#
#   make fuzz-run SECONDS=600                 ten minutes each
#   tests/fuzz/run.sh SECONDS [TARGET]...     as image_layer box_user
#
# What is learned stays in build/fuzz/corpus/TARGET for the next time, what is found lies in
# build/fuzz/found as TARGET-crash-...: mend it, then copy it to tests/fuzz/seeds/TARGET under
# a name that says what it is, and `make check` replays it for ever. Exit status 1 when anything
# was found. The last line of each target says how long it ran and how much it saw.
set -u
cd "$(dirname "$0")/../.." || exit 2
seconds=${1:?how many seconds for each target}
shift
[ $# -gt 0 ] || set -- $(ls build/fuzz | sed -n 's/_fuzz$//p')
found=build/fuzz/found
mkdir -p "$found"
bad=0
for target; do
    corpus=build/fuzz/corpus/$target
    mkdir -p "$corpus"
    if ! ASAN_OPTIONS=detect_leaks=1 nice build/fuzz/"$target"_fuzz -max_total_time="$seconds" \
        -max_len=65536 -timeout=20 -rss_limit_mb=2048 -artifact_prefix="$found/$target-" \
        "$corpus" "tests/fuzz/seeds/$target" >"$found/$target.log" 2>&1; then
        bad=1
        grep -E 'ERROR|SUMMARY|invariant|runtime error' "$found/$target.log" | head -n 5
    fi
    printf '%-20s %s\n' "$target" "$(grep -E 'DONE|BINGO' "$found/$target.log" | tail -n 1)"
done
exit $bad
