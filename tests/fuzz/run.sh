#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh - let the fuzz targets that make fuzz has built search, one after the other
#
#   make fuzz-run SECONDS=600 [TARGETS="image_layer box_user"]    ten minutes of CPU each
#   tests/fuzz/run.sh SECONDS [TARGET]...
#
# Coverage guides the search, ASan and UBSan judge it, tests/fuzz/dict/TARGET gives it words. What
# it learns stays in build/fuzz/corpus/TARGET for the next time (make fuzz-seeds keeps the best of
# it); what it finds lies in build/fuzz/found as TARGET-crash-...: mend it, then copy it to
# tests/fuzz/seeds/TARGET under a name that says what it is, and `make check` replays it for ever.
# Seconds are of CPU time, so that a busy machine searches as much as an idle one. One line for each
# target; exit status 1 when anything was found.
set -u
cd "$(dirname "$0")/../.." || exit 2
seconds=${1:?how many CPU seconds for each target}
shift
[ $# -gt 0 ] || set -- $(ls build/fuzz | sed -n 's/_fuzz$//p')
found=build/fuzz/found
ticks=$(getconf CLK_TCK)
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1

cpu_seconds() { # PID: what it has used, nothing when it has ended
    awk -v ticks="$ticks" '{ sub(/.*\) /, ""); print int(($12 + $13) / ticks) }' \
        "/proc/$1/stat" 2>/dev/null
}

search() { # TARGET: 0 when nothing was found
    local target=$1 corpus=build/fuzz/corpus/$1 log=$found/$1.log stop=$found/$1.stop
    local pid used now=0 status
    mkdir -p "$corpus" "$found"
    rm -f "$stop"
    set --
    [ ! -e "tests/fuzz/dict/$target" ] || set -- "-dict=tests/fuzz/dict/$target"
    nice -n 19 "build/fuzz/${target}_fuzz" -stop_file="$stop" -max_len=65536 -timeout=20 \
        -rss_limit_mb=2048 -artifact_prefix="$found/$target-" "$@" \
        "$corpus" "tests/fuzz/seeds/$target" >"$log" 2>&1 &
    pid=$!
    while used=$(cpu_seconds $pid) && [ -n "$used" ]; do
        now=$used
        [ "$now" -lt "$seconds" ] || echo enough >"$stop"
        sleep 1
    done
    wait $pid
    status=$?
    rm -rf "$stop" "/dev/shm/dugout-fuzz-$pid"
    printf '%-18s %5s s  %s\n' "$target" "$now" \
        "$(grep -E '^#[0-9]+.* cov: ' "$log" | tail -n 1 | sed 's/\t/ /; s/ lim: .*//')"
    [ $status -eq 0 ] && return
    grep -E 'ERROR|SUMMARY|invariant|runtime error|Test unit written' "$log" | head -n 6
    return 1
}

bad=0
for target; do
    search "$target" || bad=1
done
exit $bad
