#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check.sh - unpack the release archive somewhere else and see that it is what it says
#
#   release/check.sh            the archive in build/release
#   release/check.sh --rebuild  and build the same commit again in another folder: equal bytes
#
# The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 2

version=$(sed -n 's/^## \([0-9][0-9.]*\).*/\1/p' release/CHANGELOG.md | head -n 1)
name=dugout-$version-$(uname -m)-linux
archive=$PWD/build/release/$name.tar.gz
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
top=$dir/$name

passed=0 failed=0
check() { # SENTENCE COMMAND...
    what=$1
    shift
    if "$@" >"$dir/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "release: not so: $what"
        sed 's/^/    /' "$dir/out"
    fi
}

no_interpreter() { ! readelf -lW "$top/dugout" | grep -q INTERP; }
no_symbols() { ! readelf -SW "$top/dugout" | grep -q '\.symtab'; }
not_executable_stack() { readelf -lW "$top/dugout" | grep GNU_STACK | grep -q 'RW '; }
small() { [ "$(stat -c %s "$top/dugout")" -le $((4 << 20)) ]; }
no_build_paths() { ! grep -aqF "$PWD" "$top/dugout"; }
owners_are_root() { ! tar -tvf "$archive" --numeric-owner | grep -v ' 0/0 '; }
says_version() { env -i "$top/dugout" version | grep -F "$version"; }
says_vendored() { # every pinned library with its version
    env -i "$top/dugout" version >"$dir/version"
    awk '!/^#/ && NF { print $1 " " $2 }' vendor/pins |
        while read -r lib; do grep -F "$lib" "$dir/version" || exit 1; done
}
man_page_is_clean() {
    [ -s "$top/dugout.1" ] && head -n 20 "$top/dugout.1" | grep -q '^\.TH' || return 1
    command -v groff >/dev/null || return 0
    [ -z "$(groff -man -Tutf8 -ww -z "$top/dugout.1" 2>&1)" ]
}
completion_loads() {
    bash -n "$top/completions/dugout.bash" && grep -q complete "$top/completions/dugout.bash" &&
        head -n 1 "$top/completions/_dugout" | grep -qx '#compdef dugout' || return 1
    ! command -v zsh >/dev/null || zsh -n "$top/completions/_dugout"
}
licences_are_there() {
    for lib in $(awk '!/^#/ && NF { print $1 }' vendor/pins); do
        [ -s "$top/licenses/$lib.txt" ] || { echo "$lib"; return 1; }
    done
}
sbom_parses() {
    python3 - "$top/sbom.cdx.json" vendor/pins <<'END'
import json
import sys

bom = json.load(open(sys.argv[1]))
rows = [line.split() for line in open(sys.argv[2]) if line.strip() and line[0] != "#"]
assert bom["bomFormat"] == "CycloneDX" and bom["specVersion"] == "1.5"
have = [(c["name"], c["version"], c["hashes"][0]["content"]) for c in bom["components"]]
assert have == [(r[0], r[1], r[3]) for r in rows], have
assert bom["dependencies"][0]["dependsOn"] == [r[0] for r in rows]
END
}
packs_again_the_same() {
    cp "$archive" "$dir/first" && release/build.sh && cmp "$archive" "$dir/first"
}
builds_again_the_same() {
    git clone -q . "$dir/again" && mkdir -p "$dir/again/build" && cp -r build/dl "$dir/again/build" &&
        make -C "$dir/again" && (cd "$dir/again" && release/build.sh) &&
        cmp "$archive" "$dir/again/build/release/$name.tar.gz"
}

check "the archive unpacks" tar -xf "$archive" -C "$dir"
check "everything belongs to 0/0" owners_are_root
check "its checksum is beside it" sh -c "cd build/release && sha256sum -c $name.tar.gz.sha256"
check "the binary has no interpreter" no_interpreter
check "the binary is stripped" no_symbols
check "its stack is not executable" not_executable_stack
check "it is at most 4 MiB" small
check "it names no folder of this machine" no_build_paths
check "it runs alone and says $version" says_version
check "it names every vendored library and version" says_vendored
check "the manual page is clean" man_page_is_clean
check "the completion loads" completion_loads
check "every licence is there" licences_are_there
check "the bill of materials agrees with vendor/pins" sbom_parses
check "packing again gives equal bytes" packs_again_the_same
[ "${1:-}" != --rebuild ] || check "building again gives equal bytes" builds_again_the_same

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
