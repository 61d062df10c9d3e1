#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh - pack build/dugout into build/release/dugout-VERSION-ARCH-linux.tar.gz
#
# The archive holds the binary, its manual page and shell completion (both printed by the
# binary from its command table), the licences of all that is linked into it, and a bill of
# materials. It depends on the commit alone: names are sorted, owners are 0, times are the
# commit's, so that two builds are equal byte for byte.
set -eu
cd "$(dirname "$0")/.."

die() {
    echo "release: $*" >&2
    exit 1
}

[ -x build/dugout ] || die "no build/dugout: run make"
version=$(sed -n 's/^#define DUGOUT_VERSION "\(.*\)"/\1/p' build/gen/version.h)
commit=$(sed -n 's/^#define DUGOUT_COMMIT "\(.*\)"/\1/p' build/gen/version.h)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
name=dugout-$version-$(uname -m)-linux
out=build/release
top=$out/$name
case $commit in *-dirty) echo "release: uncommitted changes: $commit" >&2 ;; esac

rm -rf "$top" "$out/$name.tar.gz"
mkdir -p "$top/licenses" "$top/completions"
cp build/dugout LICENSE README.md release/CHANGELOG.md "$top"
build/dugout help --man >"$top/dugout.1"
build/dugout completion bash >"$top/completions/dugout.bash"
build/dugout completion zsh >"$top/completions/_dugout"
SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH release/sbom.sh "$version" "$commit" >"$top/sbom.cdx.json"

licence_of() { # NAME: print the licence text that came with the source
    for f in COPYRIGHT COPYING LICENSE License; do
        if [ -f "build/src/$1/$f" ]; then
            cat "build/src/$1/$f"
            return
        fi
    done
    return 1
}

for lib in $(awk '!/^#/ && NF { print $1 }' vendor/pins); do
    if [ "$lib" = sqlite ]; then # has no licence but a dedication, at the top of its header
        sed -n '1,/^\*\*\*\*/p' build/src/sqlite/deps/sqlite3/sqlite3.h
    else
        licence_of "$lib"
    fi >"$top/licenses/$lib.txt" || die "no licence text in build/src/$lib"
done

find "$top" -type d -exec chmod 755 {} +
find "$top" -type f -exec chmod 644 {} +
chmod 755 "$top/dugout"
tar -c -C "$out" --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 \
    --numeric-owner "$name" | gzip -9n >"$out/$name.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "$out/$name.tar.gz"
