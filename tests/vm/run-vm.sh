#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run-vm.sh - dugout alone on a bare kernel: Debian's, booted in qemu, cgroup v2 only
#
#   tests/vm/run-vm.sh boot   the machine comes up: disk, cgroup v2 with its controllers
#   tests/vm/run-vm.sh A      hello runs: overlay, limits, a second run all cached
#   tests/vm/run-vm.sh B      the same without the overlay module: flat, and it says so
#   tests/vm/run-vm.sh C      what is enforced for root and for users, with and without delegation;
#                             build/vm/input holds p.tar, m.json and the program probe
#   tests/vm/run-vm.sh V      blobs on ext4 with fs-verity: sealed, not to be written to, and rot
#                             on the disk is found; build/vm/input holds the program probe
#
# The initramfs holds the dugout binary, busybox for /init and the kernel modules that are
# needed, nothing else: no libc, no Python, no daemon. The image archive, the pipeline and
# DUGOUT_HOME are on an ext4 disk, which every boot gets fresh.
#
# Printed is the serial console; what the guest wants to hand over whole (the JSON of
# `show`) comes by a second serial line into build/vm/SCENARIO.json. Exit status: 0 passed,
# 1 failed, 77 this machine cannot run it (the last line on stderr says why).
#
# DUGOUT_BIN    the binary, build/dugout when unset
# VM_ACCEL      qemu's -accel, tcg when unset: the machine may itself be virtual
# VM_CPU        its -cpu, max when unset; -accel kvm may want "max,-arch-capabilities"
# VM_TIMEOUT_S  seconds until the guest is stopped, 300 when unset

set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
vm=$top/build/vm
dugout=${DUGOUT_BIN:-$top/build/dugout}
scenario=${1:-}

say() { printf 'vm: %s\n' "$*" >&2; }
cannot() { say "$*"; exit 77; }

# have PROGRAM PACKAGE - install PACKAGE unless PROGRAM is there
have() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" = 0 ] || cannot "$1 is missing: install the package $2"
    say "$1 is missing, installing the package $2"
    [ -n "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ] || apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$2" >"$vm/apt.log" 2>&1 ||
        cannot "apt-get could not install $2: $(tail -1 "$vm/apt.log")"
}

# fetch PACKAGE DIR - unpack a Debian package below DIR without installing it
fetch() {
    mkdir -p "$2"
    (cd "$2" && apt-get download -qq -o APT::Sandbox::User=root "$1") >&2 ||
        cannot "apt-get could not download $1"
    dpkg-deb -x "$2"/"$1"_*.deb "$2"
    rm "$2"/"$1"_*.deb
}

# with_needs MODULE... - each module's file after those of the modules that it needs
with_needs() {
    for name; do
        file=$(find "$vm/kernel/lib/modules" -name "$name.ko*" |
            grep . || find "$vm/kernel/lib/modules" -name "$(echo "$name" | tr _ -).ko*")
        [ -n "$file" ] || continue # built into the kernel
        # shellcheck disable=SC2046 # a list of words is meant
        (with_needs $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr , ' '))
        echo "$file"
    done
}

# kernel - build/vm/kernel: Debian's kernel; build/vm/modules: what the guest loads, in order
kernel() {
    [ -e "$vm/modules/order" ] && return
    rm -rf "$vm/kernel" "$vm/modules"
    name=$(apt-cache depends linux-image-amd64 2>/dev/null |
        sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
    [ -n "$name" ] || cannot "apt knows no linux-image-amd64"
    say "downloading $name"
    fetch "$name" "$vm/kernel"
    mkdir -p "$vm/modules"
    with_needs virtio_pci virtio_blk crc32c_generic ext4 overlay | awk '!seen[$0]++' |
        while read -r file; do
            cp "$file" "$vm/modules/"
            basename "$file"
        done >"$vm/modules/order.new"
    mv "$vm/modules/order.new" "$vm/modules/order"
    mv "$vm"/kernel/boot/vmlinuz-* "$vm/vmlinuz"
    rm -rf "$vm/kernel"
}

# users - what ordinary users need beside: names, ranges, the setuid helpers with their libraries
users() {
    cp "$vm/input/probe" "$vm/init/probe"
    mkdir -p "$vm/init/etc" "$vm/init/usr/bin"
    printf 'root:x:0:0::/:/bin/sh\nranged:x:1002:1002::/:/bin/sh\n' >"$vm/init/etc/passwd"
    echo 'ranged:100000:65536' | tee "$vm/init/etc/subuid" >"$vm/init/etc/subgid"
    for tool in newuidmap newgidmap; do
        file=$(command -v $tool) || cannot "$tool is missing: install the package uidmap"
        cp "$file" "$vm/init/usr/bin/$tool"
        for lib in $(ldd "$file" | grep -o '/[^ ]*'); do
            mkdir -p "$vm/init$(dirname "$lib")"
            cp -L "$lib" "$vm/init$lib"
        done
        chmod 4755 "$vm/init/usr/bin/$tool"
    done
}

# initramfs - build/vm/initramfs.gz: /init, busybox, the modules, and dugout
initramfs() {
    [ -x "$vm/busybox/bin/busybox" ] || fetch busybox-static "$vm/busybox"
    rm -rf "$vm/init"
    mkdir -p "$vm/init/bin" "$vm/init/dev" "$vm/init/disk" "$vm/init/proc" \
        "$vm/init/sys" "$vm/init/tmp"
    cp "$here/init" "$vm/init/init"
    cp "$vm/busybox/bin/busybox" "$vm/init/bin/"
    cp -r "$vm/modules" "$vm/init/modules"
    [ "$scenario" = boot ] || cp "$dugout" "$vm/init/dugout"
    [ "$scenario" != C ] || users
    [ "$scenario" != V ] || cp "$vm/input/probe" "$vm/init/probe"
    (cd "$vm/init" && find . | cpio -o -H newc -R 0:0 --quiet | gzip -1) >"$vm/initramfs.gz"
}

# disk - build/vm/disk.img: ext4 with the base image's tar and the pipeline
disk() {
    rm -rf "$vm/disk" "$vm/disk.img"
    mkdir -p "$vm/disk"
    if [ "$scenario" = C ]; then
        cp "$vm/input/p.tar" "$vm/input/m.json" "$vm/disk/"
    elif [ "$scenario" != boot ] && [ "$scenario" != V ]; then
        "$top/rootfs/build.sh" python-small >&2 || cannot "no base image could be built"
        cp "$top/build/rootfs/python-small.tar" "$top/pipelines/hello/hello.yaml" "$vm/disk/"
    fi
    features=
    [ "$scenario" != V ] || features="-O verity -b 4096"
    # shellcheck disable=SC2086 # two words
    mkfs.ext4 -q $features -E root_owner=0:0 -d "$vm/disk" "$vm/disk.img" 1G
    rm -rf "$vm/disk"
}

# boot - run the guest, its console on stdout and in build/vm/SCENARIO.console
boot() {
    rm -f "$vm/$scenario.console" "$vm/$scenario.json"
    {
        timeout "${VM_TIMEOUT_S:-300}" qemu-system-x86_64 -machine q35 \
            -accel "${VM_ACCEL:-tcg}" -cpu "${VM_CPU:-max}" -smp 2 -m 1024 -no-reboot -nic none \
            -nodefaults -display none -serial stdio \
            -serial "file:$vm/$scenario.json" \
            -drive "if=virtio,format=raw,snapshot=on,file=$vm/disk.img" \
            -kernel "$vm/vmlinuz" -initrd "$vm/initramfs.gz" \
            -append "console=ttyS0 quiet panic=-1 scenario=$scenario" </dev/null 2>&1 ||
            echo "VM-RESULT $scenario qemu rc=$?"
    } | tr -d '\r' | tee "$vm/$scenario.console"
}

case $scenario in
boot | A | B | C | V) ;;
*) say "usage: tests/vm/run-vm.sh boot|A|B|C|V"; exit 2 ;;
esac
[ "$(uname -m)" = x86_64 ] || cannot "the guest is x86-64, this machine is $(uname -m)"
[ "$scenario" = boot ] || [ -x "$dugout" ] ||
    { say "no $dugout: run make first"; exit 1; }
mkdir -p "$vm"
have qemu-system-x86_64 qemu-system-x86
have mkfs.ext4 e2fsprogs
have cpio cpio
kernel
initramfs
disk

begun=$(date +%s)
boot
say "scenario $scenario took $(($(date +%s) - begun)) s"
grep -qx "VM-RESULT $scenario rc=0" "$vm/$scenario.console"
