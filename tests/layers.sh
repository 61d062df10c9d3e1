#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# layers.sh - which module of src/ may include which: a table and a grep
#
#   tests/layers.sh              check every include, last line "N passed, N failed"
#   tests/layers.sh --uses NAME  the modules that NAME may link with, itself included
#
# The Makefile links each unit test with what --uses prints, so a call against the arrows is
# found even where no header is included.
set -eu
cd "$(dirname "$0")/.."

# module: what it may include besides itself (vendor: only tests have that name)
table='
base:
assets:
vendor:
spec:    base
plan:    spec base
store:   base
lineage: store assets base
image:   store base
box:     assets base
gpu:     box spec assets base
run:     plan spec image gpu box store lineage assets base
report:  lineage store assets base
serve:   lineage store assets base
cli:     report serve run plan spec image gpu box store lineage assets base
'

allowed() { # MODULE
    echo "$table" | sed -n "s/^$1://p"
}

known() { # MODULE
    echo "$table" | grep -q "^$1:"
}

uses() { # MODULE: a name that is no module (a test of everything) uses everything
    if known "$1"; then
        echo "$1 $(allowed "$1")"
    else
        echo "cli $(allowed cli)"
    fi
}

includes() { # FILE: the "module/" part of each quoted include
    sed -n 's|^ *# *include *"\([a-z]*\)/.*|\1|p' "$1" | sort -u
}

if [ "${1:-}" = --uses ]; then
    uses "$2"
    exit 0
fi

passed=0 failed=0
for dir in src/*/; do
    module=$(basename "$dir")
    if ! known "$module"; then
        echo "layers: src/$module is not in the table of tests/layers.sh"
        failed=$((failed + 1))
        continue
    fi
    for file in "$dir"*.[ch]; do
        [ -f "$file" ] || continue
        bad=
        for want in $(includes "$file"); do
            case " $module $(allowed "$module") " in
            *" $want "*) ;;
            *) bad="$bad $want" ;;
            esac
        done
        if [ -n "$bad" ]; then
            echo "layers: $file includes$bad: $module may include only:$(allowed "$module")"
            failed=$((failed + 1))
        else
            passed=$((passed + 1))
        fi
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
