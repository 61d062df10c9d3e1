#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# trim.sh ROOT - drop from a fresh Debian root what a pipeline step never needs
#
# mmdebstrap runs it when all packages are configured. LEAVE_OUT is a pattern of
# paths that go as well (empty: none). CHECK is Python that has to work
# afterwards; it is empty where there is no Python.

set -eu
root=$1

find "$root/usr" -depth -path "${LEAVE_OUT:+$root$LEAVE_OUT}" -exec rm -rf {} +
rm -rf "$root"/var/cache/debconf "$root"/var/log/* "$root"/var/lib/dpkg/*-old \
    "$root"/etc/*- "$root"/etc/hostname "$root"/etc/resolv.conf \
    "$root"/usr/share/bash-completion "$root"/usr/share/bug

# Byte code holds the time of its source, and mmdebstrap makes no file newer than
# SOURCE_DATE_EPOCH: settle the times first, then compile what is stale.
find "$root/usr/lib" -name '*.py' -newermt "@$SOURCE_DATE_EPOCH" \
    -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
if [ -n "$CHECK" ]; then
    chroot "$root" python3 -m compileall -q -j 0 /usr/lib/python3 /usr/lib/python3.11
    chroot "$root" python3 -c "$CHECK"
fi
