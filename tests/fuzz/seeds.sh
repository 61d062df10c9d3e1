#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# seeds.sh - keep the best of what the searches learned among the seeds
#
#   make fuzz-seeds [TARGETS="image_layer box_user"]
#   tests/fuzz/seeds.sh [TARGET]...
#
# For each target: the smallest files of build/fuzz/corpus/TARGET that together reach every edge
# which the seeds do not, up to a number and a size that a repository can bear. They are named by
# their content, cov-XXXXXXXX; seeds with other names were written by people and are left alone.
set -u
cd "$(dirname "$0")/../.." || exit 2
[ $# -gt 0 ] || set -- $(ls build/fuzz/corpus)
most_files=60 most_bytes=$((200 << 10)) largest=$((8 << 10))
work=build/fuzz/merge

# Edges alone count: how often each was passed would keep hundreds of files.
minimise() { # TARGET INTO FROM...: the files of FROM that add to INTO
    local target=$1
    shift
    "build/fuzz/${target}_fuzz" -set_cover_merge=1 -use_counters=0 -timeout=20 "$@" >"$work/log" 2>&1 ||
        { tail -n 3 "$work/log" >&2 && return 1; }
}

for target; do
    seeds=tests/fuzz/seeds/$target
    rm -rf "$work"
    mkdir -p "$work/small" "$work/kept"
    # a search that runs beside us replaces files
    find "build/fuzz/corpus/$target" "$seeds" -name '*' -type f -size -"${largest}"c \
        \( -path 'build/*' -o -name 'cov-*' \) -exec cp -t "$work/small" {} + 2>/dev/null
    find "$seeds" -type f -name 'cov-*' -delete
    cp "$seeds"/* "$work/kept"
    before=$(ls "$work/kept" | sort)
    minimise "$target" "$work/kept" "$work/small" || exit 1
    files=$(ls "$seeds" | wc -l) bytes=$(cat "$seeds"/* | wc -c) added=0
    # Large ones reach most: they come first, as long as there is room.
    for f in $(ls -S "$work/kept"); do
        grep -qxF "$f" <<<"$before" && continue
        size=$(stat -c %s "$work/kept/$f")
        [ $files -lt $most_files ] && [ $((bytes + size)) -le $most_bytes ] || continue
        cp "$work/kept/$f" "$seeds/cov-${f:0:8}"
        files=$((files + 1)) bytes=$((bytes + size)) added=$((added + 1))
    done
    printf '%-18s %s seeds, %s bytes, %s of them found by searching\n' "$target" $files $bytes $added
done
