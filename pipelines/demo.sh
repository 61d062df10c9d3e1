#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# demo.sh - from nothing to a model in production whose data can be named
#
# Makes the base image, trains the churn model, tags it, asks which dataset it came from,
# and runs the pipeline once more to show that nothing is done twice. Everything is kept
# in DUGOUT_HOME (build/demo-home when unset); DUGOUT_BIN names another binary.

set -eu
cd "$(dirname "$0")/.."

bin=${DUGOUT_BIN:-build/dugout}
DUGOUT_HOME=${DUGOUT_HOME:-$PWD/build/demo-home}
export DUGOUT_HOME
pipeline=pipelines/churn-offline/churn_offline.yaml
image=python:3.12-slim

[ -x "$bin" ] || { echo "demo: no $bin; run make first" >&2; exit 3; }

heading() {
    printf '\n== %s\n\n' "$*"
}

# dugout ARG... - show the command, then run it
dugout() {
    printf '$ dugout'
    for arg; do
        case $arg in
        *[!A-Za-z0-9@%+=:,./_-]*) printf " '%s'" "$arg" ;;
        *) printf ' %s' "$arg" ;;
        esac
    done
    printf '\n'
    "$bin" "$@"
}

# a home that an older dugout made
[ ! -e "$DUGOUT_HOME/dugout.db" ] || "$bin" migrate

now_ms() {
    echo $(($(date +%s%N) / 1000000))
}

heading "The base image"
if "$bin" image inspect "$image" >/dev/null 2>&1; then
    echo "$image is there already"
else
    rootfs/build.sh python-slim-ml
    dugout image import build/rootfs/python-slim-ml.tar --name "$image"
fi

heading "Train: load, train, evaluate, each in its own container"
dugout run "$pipeline"

heading "Its metrics"
dugout artifact show @latest/evaluate:out_metrics

heading "Put the model into production"
move=
"$bin" artifact show churn:prod >/dev/null 2>&1 && move=--move
dugout tag @latest/train:out_model churn:prod $move

heading "Which dataset trained the model in production?"
dugout lineage churn:prod --up --type Dataset

heading "The same pipeline again: nothing to do"
begun=$(now_ms)
dugout run "$pipeline"
echo "(that took $(($(now_ms) - begun)) ms)"

heading "Where everything is"
echo "home        $DUGOUT_HOME"
echo "pipeline    $pipeline"
echo "look back   DUGOUT_HOME=$DUGOUT_HOME $bin show @latest"
