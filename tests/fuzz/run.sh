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
# target: seconds, executions, edges and corpus. Exit status 1 when anything was found.
set -u
cd "$(dirname "$0")/../.." || exit 2
seconds=${1:?how many CPU seconds for each target}
shift
[ $# -gt 0 ] || set -- $(ls build/fuzz | sed -n 's/_fuzz$//p')
found=build/fuzz/found
mkdir -p "$found"
ticks=$(getconf CLK_TCK)
slow=20        # CPU seconds that no input may take
timed_out=70   # how libFuzzer says that one took long
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1

cpu_seconds() { # PID: what it has used, nothing when it has ended
    awk -v ticks="$ticks" '{ sub(/.*\) /, ""); print int(($12 + $13) / ticks) }' \
        "/proc/$1/stat" 2>/dev/null
}

# libFuzzer's clock is the wall's: on a busy machine an input may only have waited for a CPU
only_waited() { # TARGET LOG
    local unit
    unit=$(sed -n 's/.*Test unit written to //p' "$2" | tail -n 1)
    (ulimit -t $slow && "build/fuzz/$1_fuzz" -timeout=100000 "$unit" >/dev/null 2>&1) &&
        rm -f "$unit"
}

run_once() { # TARGET SECONDS LOG: sets used; 0 when nothing was found
    local target=$1 budget=$2 log=$3 stop=$found/$1.stop dict=tests/fuzz/dict/$1 pid now status
    rm -f "$stop"
    set --
    [ ! -e "$dict" ] || set -- "-dict=$dict"
    nice -n 19 "build/fuzz/${target}_fuzz" -stop_file="$stop" -max_len=65536 \
        -timeout=$((3 * slow)) -timeout_exitcode=$timed_out -rss_limit_mb=2048 \
        -artifact_prefix="$found/$target-" "$@" \
        "build/fuzz/corpus/$target" "tests/fuzz/seeds/$target" >"$log" 2>&1 &
    pid=$! used=0
    while now=$(cpu_seconds $pid) && [ -n "$now" ]; do
        used=$now
        [ "$used" -lt "$budget" ] || echo enough >"$stop"
        sleep 1
    done
    wait $pid
    status=$?
    rm -rf "$stop" "/dev/shm/dugout-fuzz-$pid" "/dev/shm/dugout-fuzz-$pid-home"
    [ $status -ne $timed_out ] || ! only_waited "$target" "$log" || status=0
    return $status
}

search() { # TARGET: 0 when nothing was found
    local target=$1 log=$found/$1.log spent=0 runs=0 status=0 last used
    mkdir -p "build/fuzz/corpus/$target"
    while [ $spent -lt "$seconds" ] && [ $status -eq 0 ]; do
        run_once "$target" $((seconds - spent)) "$log" || status=1
        last=$(grep -E '^#[0-9]+.* cov: ' "$log" | tail -n 1)
        spent=$((spent + used + (used == 0)))
        runs=$((runs + $(sed 's/^#//; s/[^0-9].*//; s/^$/0/' <<<"$last")))
    done
    printf '%-18s %5s s %10s runs  %s\n' "$target" $spent $runs \
        "$(sed 's/.* cov: /cov: /; s/ lim: .*//; s/ exec.*//' <<<"$last")"
    [ $status -eq 0 ] ||
        grep -E 'ERROR|SUMMARY|invariant|runtime error|Test unit written' "$log" | head -n 6
    return $status
}

bad=0
for target; do
    search "$target" || bad=1
done
exit $bad
