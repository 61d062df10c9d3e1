#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# deps.sh - install the Debian packages that building and testing need, when they are missing
#
#   vendor/deps.sh [build] [test] [demo] [bench] [fuzz] [lint]
#
# Says what it installs; does nothing, and needs neither root nor network, when all is there.
set -eu

build="gcc libc6-dev make binutils patch nasm linux-libc-dev git ca-certificates xz-utils"
# The base images that the samples run in are made from Debian packages.
demo="mmdebstrap python3"
test="$demo python3-pytest python3-yaml skopeo umoci
    zstd gzip strace busybox-static qemu-system-x86 cpio util-linux e2fsprogs chromium poppler-utils"
bench="$demo crun runc bubblewrap podman skopeo umoci strace time openssl ostree borgbackup git-annex"
fuzz="clang libclang-rt-dev"
lint="clang clang-format clang-tidy"

want=
for group in "$@"; do
    case $group in
    build) want="$want $build" ;;
    demo) want="$want $demo" ;;
    test) want="$want $test" ;;
    bench) want="$want $bench" ;;
    fuzz) want="$want $fuzz" ;;
    lint) want="$want $lint" ;;
    *) echo "deps: want build, test, demo, bench, fuzz or lint, got $group" >&2 && exit 2 ;;
    esac
done

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian system, nothing installed; needed:$want" >&2
    exit 0
fi

missing=
for p in $want; do
    installed "$p" || case " $missing " in *" $p "*) ;; *) missing="$missing $p" ;; esac
done
# SQLite's amalgamation comes as an npm package; any npm will do.
command -v npm >/dev/null || [ -e "$(dirname "$0")/../build/dl/$(awk '$6 == "npm" { print $3 }' \
    "$(dirname "$0")/pins")" ] || missing="$missing npm"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "deps: missing:$missing: as root, run apt-get install$missing" >&2
    exit 1
fi
echo "deps: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of names
apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600 $missing
