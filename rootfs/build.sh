#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build.sh - make a base image from Debian packages: build/rootfs/NAME.tar
#
#   rootfs/build.sh NAME...     a NAME is a recipe beside this file (NAME.recipe)
#
# The tar is the root file system of an image, for `dugout image import`. A recipe is a
# list of packages; mmdebstrap resolves and installs them from the Debian sources that
# this machine has configured, and nothing else is fetched. What a step never reads is
# left out: manuals, translations, caches, the package manager. Byte code stays, because
# compiling the standard library again would cost every step more than it saves.
#
# A tar that is newer than its recipe and this script is kept. Time stamps are those of
# the newest package index, so one state of the mirror makes one tar.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${DUGOUT_ROOTFS_OUT:-$here/../build/rootfs}
suite=bookworm

say() { printf 'rootfs: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# need PROGRAM PACKAGE - install PACKAGE unless PROGRAM is there
need() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" = 0 ] || die "$1 is missing: install the package $2"
    say "$1 is missing, installing the package $2"
    [ -n "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ] || apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$2" >"$work/apt.log" 2>&1 ||
        { cat "$work/apt.log" >&2; die "apt-get could not install $2"; }
}

# sources - the configured Debian sources of our suite, as one-line entries
sources() {
    # shellcheck disable=SC2016 # apt fills these in
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' |
        awk -v s="$suite" '$3 == s || index($3, s "-") == 1' | sort -u
}

# index_epoch - seconds since 1970 of the newest index of our suite
index_epoch() {
    for f in /var/lib/apt/lists/*_dists_"$suite"*Release; do
        date -d "$(sed -n 's/^Date: //p;/^Date: /q' "$f")" +%s
    done | sort -n | tail -1
}

# placeholder PACKAGE - an empty package that satisfies a dependency on PACKAGE
placeholder() {
    mkdir -p "$work/ph/DEBIAN"
    cat >"$work/ph/DEBIAN/control" <<END
Package: $1
Version: 999
Architecture: all
Maintainer: nobody <nobody@localhost>
Description: satisfies a dependency that is not used at run time
END
    dpkg-deb --root-owner-group -b "$work/ph" "$work/$1.deb" >/dev/null
    rm -rf "$work/ph"
}

# What every image has beside its recipe's packages: a shell and the core utilities, and
# what Debian's maintainer scripts call. Not all "essential" packages: those that boot a
# machine or log people in are left out.
base="base-files base-passwd bash coreutils dash debianutils diffutils dpkg findutils grep
      gzip hostname libc-bin mawk perl-base sed tar usr-is-merged"

# debian TAR - a Debian root file system with the recipe's packages
debian() {
    need mmdebstrap mmdebstrap
    made=$1
    # shellcheck disable=SC2086 # two lists of words
    include=$(echo $base $packages | tr ' ' ,)
    set -f # patterns are dpkg's, not the shell's
    set -- --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr
    for p in $satisfied; do
        placeholder "$p"
        set -- "$@" --setup-hook="dpkg --root=\"\$1\" --install '$work/$p.deb'"
    done
    for path in /usr/share/man/* /usr/share/info/* /usr/share/locale/* \
        /usr/share/lintian/* /usr/share/doc/*; do
        set -- "$@" "--dpkgopt=path-exclude=$path"
    done
    set -- "$@" --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook="$here/trim.sh" --skip=output/dev,output/mknod
    set +f

    # As root, in a mount namespace: the mounts of a build that is cut short go with it.
    isolate=''
    [ "$(id -u)" != 0 ] || isolate="unshare --mount"
    sources | CHECK=$check LEAVE_OUT=$leave_out $isolate mmdebstrap --quiet \
        --variant=custom --include="$include" "$@" "$suite" "$made" - >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; die "mmdebstrap ended with an error"; }

    # An empty /dev, to be mounted on; mmdebstrap knows only one full of device nodes.
    mkdir -p "$work/end/dev"
    tar -C "$work/end" --owner=0 --group=0 --numeric-owner --mode=0755 \
        --mtime="@$SOURCE_DATE_EPOCH" -rf "$made" ./dev
}

# static TAR - one static program, links to it, and the few files a libc looks for
static() {
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$packages" >&2)
    dpkg-deb -x "$work"/"$packages"_*.deb "$work/pkg"
    root=$work/root
    mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/proc" "$root/root" "$root/sys" \
        "$root/tmp" "$root/usr/share/doc/$packages" "$root/var/tmp"
    cp "$work/pkg/bin/busybox" "$root/bin/busybox"
    cp "$work/pkg/usr/share/doc/$packages/copyright" "$root/usr/share/doc/$packages/"
    for a in $applets; do
        ln -s busybox "$root/bin/$a"
    done
    echo 'root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false' >"$root/etc/passwd"
    echo 'root:x:0:
nogroup:x:65534:' >"$root/etc/group"
    chmod -R u=rwX,go=rX "$root"
    chmod 0700 "$root/root"
    chmod 1777 "$root/tmp" "$root/var/tmp"
    tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu \
        --mtime="@$SOURCE_DATE_EPOCH" -cf "$1" .
}

build() {
    recipe=$here/$1.recipe
    tar=$out/$1.tar
    [ -f "$recipe" ] || die "no recipe $1; there are: $(cd "$here" && echo *.recipe |
        sed 's/\.recipe//g')"
    if [ -n "$(find "$tar" -newer "$recipe" -newer "$here/build.sh" \
        -newer "$here/trim.sh" 2>/dev/null)" ]; then
        say "$1 is up to date"
        return
    fi

    kind=debian packages='' satisfied='' leave_out='' check='' applets=''
    # shellcheck source=/dev/null
    . "$recipe"
    begun=$(date +%s)
    [ -n "$(sources)" ] || die "no Debian $suite source is configured for apt"
    ls /var/lib/apt/lists/*_dists_"$suite"*Release >/dev/null 2>&1 ||
        { say "updating the package index"; apt-get update -qq >&2; }
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(index_epoch)}
    export SOURCE_DATE_EPOCH

    say "$1: building from Debian packages: $packages"
    "$kind" "$work/$1.tar"
    mv "$work/$1.tar" "$tar"
    say "$1: $(du -m "$tar" | cut -f1) MiB in $(($(date +%s) - begun)) s: build/rootfs/$1.tar"
}

[ $# -gt 0 ] || die "usage: rootfs/build.sh NAME...; recipes: $(cd "$here" &&
    echo *.recipe | sed 's/\.recipe//g')"
mkdir -p "$out"
work=$(mktemp -d "$out/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
for name; do
    build "$name"
done
