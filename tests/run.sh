#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh - run the tests that make has built and add them up
#
#   tests/run.sh check      unit programs, fuzz seeds, layers
#   tests/run.sh cli        tests/cli against build/dugout (or $DUGOUT_BIN)
#   tests/run.sh check cli  both
#
# A program reports itself by its last line, "N passed, N failed" (", N skipped" may follow).
# One that ends without that line, or badly without counting a failure, counts as one
# failure: a crash is never a pass. The last line printed here is the sum.
set -u
cd "$(dirname "$0")/.." || exit 2

passed=0 failed=0 skipped=0
out=build/test/out
mkdir -p "$out"

count() { # NAME STATUS FILE: add the last line of FILE, show FILE when something is wrong
    local p=0 f=0 s=0 line
    line=$(tail -n 1 "$3")
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
        p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]} s=${BASH_REMATCH[4]:-0}
    fi
    if [ $((p + f + s)) -eq 0 ] || { [ "$2" -ne 0 ] && [ "$f" -eq 0 ]; }; then
        f=$((f + 1))
        echo "$1: exit status $2, last line: $line" >>"$3"
    fi
    [ "$f" -eq 0 ] || cat "$3"
    printf '%-40s %s passed, %s failed%s\n' "$1" "$p" "$f" "$([ "$s" = 0 ] || echo ", $s skipped")"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

program() { # NAME COMMAND...
    local name=$1 status
    shift
    timeout 600 "$@" >"$out/$name.txt" 2>&1
    status=$?
    count "$name" "$status" "$out/$name.txt"
}

run_check() {
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
    local t name
    for t in tests/unit/*_test.c; do
        [ -e "$t" ] || continue
        name=$(basename "$t" .c)
        program "$name" "build/test/$name"
    done
    for t in tests/fuzz/*_fuzz.c; do
        [ -e "$t" ] || continue
        name=$(basename "$t" .c)
        program "$name" "build/test/replay/$name" "tests/fuzz/seeds/${name%_fuzz}"
    done
    program layers tests/layers.sh
}

pytest_python() { # the first python that has pytest
    local py
    for py in python3 /usr/bin/python3; do
        "$py" -c 'import pytest' 2>/dev/null && echo "$py" && return
    done
    return 1
}

run_cli() {
    local py xml=$out/cli.xml status n
    py=$(pytest_python) || {
        echo "cli: no python3 with pytest: apt-get install python3-pytest"
        failed=$((failed + 1))
        return
    }
    rm -f "$xml"
    "$py" -m pytest tests/cli -q -ra -p no:cacheprovider --junitxml="$xml" ${PYTEST_ARGS:-}
    status=$?
    attr() {
        n=$(sed -n "s/.*<testsuite [^>]*\b$1=\"\([0-9]*\)\".*/\1/p" "$xml" 2>/dev/null | head -n 1)
        echo "${n:-0}"
    }
    local f=$(($(attr failures) + $(attr errors))) s=$(attr skipped) all=$(attr tests)
    local p=$((all - f - s))
    [ "$p" -ge 0 ] || p=0
    if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
        echo "cli: pytest ended with status $status"
        f=1
    fi
    printf '%-40s %s passed, %s failed, %s skipped\n' cli "$p" "$f" "$s"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

for part in "$@"; do
    case $part in
    check) run_check ;;
    cli) run_cli ;;
    *) echo "run.sh: want check or cli, got $part" && exit 2 ;;
    esac
done

echo
if [ "$skipped" -eq 0 ]; then
    echo "$passed passed, $failed failed"
else
    echo "$passed passed, $failed failed, $skipped skipped"
fi
[ "$failed" -eq 0 ]
