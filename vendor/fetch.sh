#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fetch.sh - bring pinned source archives into build/dl, or say why not
#
#   vendor/fetch.sh          every file of vendor/pins
#   vendor/fetch.sh FILE...  only these
#
# A file that is there and has the pinned SHA-256 is left alone, so a filled build/dl needs
# no network. What arrives is believed for its hash only, never for where it came from: the
# mirror is the one this machine's apt is set up with (or $DEBIAN_MIRROR), the registry the
# one npm is set up with. A file appears under its name only after its hash was checked.
set -eu

here=$(dirname "$0")
dl=$here/../build/dl
pins=$here/pins

die() {
    echo "fetch: $*" >&2
    exit 1
}

sha256_of() {
    sha256sum "$1" | cut -d' ' -f1
}

debian_mirrors() {
    if [ -n "${DEBIAN_MIRROR:-}" ]; then
        echo "$DEBIAN_MIRROR"
    else
        apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep '/debian/*$' | sort -u
    fi
}

from_debian() { # DIRECTORY FILE TARGET
    for mirror in $(debian_mirrors); do
        url=${mirror%/}/pool/main/$1/$2
        if [ -x /usr/lib/apt/apt-helper ]; then
            /usr/lib/apt/apt-helper -o APT::Sandbox::User=root -qq \
                download-file "$url" "$3" >&2 && return 0
        else
            curl -fsSL -o "$3" "$url" && return 0
        fi
    done
    return 1
}

from_npm() { # PACKAGE FILE TARGET
    version=${2#"$1"-}
    version=${version%.tgz}
    command -v npm >/dev/null || die "$2 comes from the npm registry: install npm, or put" \
        "the file into build/dl by hand"
    (cd "$(dirname "$3")" && npm pack --silent "$1@$version" >/dev/null)
}

fetch_one() { # FILE
    line=$(awk -v f="$1" '!/^#/ && $3 == f' "$pins")
    [ -n "$line" ] || die "$1 is not in vendor/pins"
    # shellcheck disable=SC2086 # the columns of the table
    set -- $line
    file=$3 want=$4 kind=$6 place=$7

    if [ -f "$dl/$file" ]; then
        got=$(sha256_of "$dl/$file")
        if [ "$got" = "$want" ]; then
            touch "$dl/$file"
            return
        fi
        die "build/dl/$file has sha256 $got, vendor/pins wants $want: remove the file"
    fi

    tmp=$dl/.tmp.$$/$file
    mkdir -p "$dl/.tmp.$$"
    trap 'rm -rf "$dl/.tmp.$$"' EXIT
    echo "fetch: $file" >&2
    case $kind in
    debian) from_debian "$place" "$file" "$tmp" ;;
    npm) from_npm "$place" "$file" "$tmp" ;;
    *) die "vendor/pins: $file: want debian or npm, got $kind" ;;
    esac || die "no $file to be had ($kind $place): is there a network? Put the file into" \
        "build/dl by hand, its sha256 is $want"

    got=$(sha256_of "$tmp")
    [ "$got" = "$want" ] || die "$file arrived with sha256 $got, vendor/pins wants $want"
    mv "$tmp" "$dl/$file"
    rm -rf "$dl/.tmp.$$"
}

mkdir -p "$dl"
[ $# -gt 0 ] || set -- $(awk '!/^#/ && NF { print $3 }' "$pins")
for f in "$@"; do
    fetch_one "$f"
done
