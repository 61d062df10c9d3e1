# SPDX-License-Identifier: Apache-2.0
"""Trees that look to dugout like a machine with GPUs: /proc, /sys, /dev and a driver's files."""

import os
import pathlib
import stat
import struct

DRIVER = "535.104.05"
UUID = ["GPU-11111111-aaaa-bbbb-cccc-000000000000", "GPU-22222222-aaaa-bbbb-cccc-000000000001"]
PCI = ["0000:3b:00.0", "0000:af:00.0"]
UVM, CAPS, KFD = 511, 237, 235  # majors that the kernel gave out, as /proc/devices says
LIBDIR = "usr/lib/x86_64-linux-gnu"


def elf(soname: str) -> bytes:
    """The smallest shared object that has a DT_SONAME."""
    strtab = b"\0" + soname.encode() + b"\0"
    base = 64 + 2 * 56
    dyn = base + len(strtab) + (-len(strtab)) % 8
    entries = [(14, 1), (5, base), (10, len(strtab)), (0, 0)]  # SONAME STRTAB STRSZ NULL
    size = dyn + 16 * len(entries)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0, 0, 64, 56,
                       2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 4096)
    dynamic = struct.pack("<IIQQQQQQ", 2, 6, dyn, dyn, dyn, 64, 64, 8)
    body = strtab + b"\0" * ((-len(strtab)) % 8)
    return head + load + dynamic + body + b"".join(struct.pack("<QQ", *e) for e in entries)


def ld_so_cache(entries, flags=0x0303) -> bytes:
    """The file that the dynamic linker reads, new format; entries: (soname, path)."""
    n = len(entries)
    strings, at = b"", 48 + 24 * n
    rows = b""
    for name, path in entries:
        key = at + len(strings)
        strings += name.encode() + b"\0"
        value = at + len(strings)
        strings += path.encode() + b"\0"
        rows += struct.pack("<iIIIQ", flags, key, value, 0, 0)
    return (b"glibc-ld.so.cache1.1" + struct.pack("<IIB3xIIII", n, len(strings), 2, 0, 0, 0, 0) +
            rows + strings)


class Tree:
    """One machine."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.devices = ["  1 mem", "226 drm"]
        (root / "run/lock").mkdir(parents=True)
        os.chmod(root / "run/lock", 0o1777)
        (root / "dev").mkdir()

    def write(self, path: str, text="") -> pathlib.Path:
        f = self.root / path.lstrip("/")
        f.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            f.write_bytes(text)
        else:
            f.write_text(text)
        return f

    def node(self, path: str, major: int, minor: int) -> pathlib.Path:
        f = self.root / path.lstrip("/")
        f.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(f, 0o660 | stat.S_IFCHR, os.makedev(major, minor))
        return f

    def major(self, number: int, name: str) -> None:
        self.devices.append("%3d %s" % (number, name))
        self.write("proc/devices", "Character devices:\n%s\n\nBlock devices:\n  7 loop\n"
                   % "\n".join(self.devices))

    def pci(self, address: str, vendor: str, cls: str, numa=0, drm=None) -> None:
        base = "sys/bus/pci/devices/%s/" % address
        self.write(base + "vendor", vendor + "\n")
        self.write(base + "class", cls + "\n")
        self.write(base + "numa_node", "%d\n" % numa)
        self.write(base + "device", "0x1234\n")
        if drm is not None:
            (self.root / base / "drm" / ("renderD%d" % drm)).mkdir(parents=True)


def nvidia(root: pathlib.Path, n=2, mig=(), libs=True) -> Tree:
    """Cards with minors in the opposite order of their places; mig: places of cards with one
    instance 1/0 and another 2/0."""
    t = Tree(root)
    t.write("proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  %s  Sat Aug 19 01:15:15 UTC 2023\n"
            "GCC version:  gcc version 12.2.0\n" % DRIVER)
    t.write("proc/driver/nvidia/params", "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\n"
            "DeviceFileUID: 0\n")
    t.write("proc/driver/nvidia/registry", 'Binary: ""\n')
    for major, name in ((195, "nvidia-frontend"), (UVM, "nvidia-uvm"), (CAPS, "nvidia-caps")):
        t.major(major, name)
    t.node("dev/nvidiactl", 195, 255)
    t.node("dev/nvidia-uvm", UVM, 0)
    t.node("dev/nvidia-uvm-tools", UVM, 1)
    for i in range(n):
        minor = n - 1 - i
        t.write("proc/driver/nvidia/gpus/%s/information" % PCI[i],
                "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 183\nGPU UUID: \t %s\n"
                "Video BIOS: \t 92.00.45.00.03\nBus Type: \t PCIe\nBus Location: \t %s\n"
                "Device Minor: \t %d\nGPU Excluded:\t No\n" % (UUID[i], PCI[i], minor))
        t.pci(PCI[i], "0x10de", "0x030200", numa=i, drm=128 + i)
        t.node("dev/nvidia%d" % minor, 195, minor)
        t.node("dev/dri/renderD%d" % (128 + i), 226, 128 + i)
        if i in mig:
            lines = ["config 1", "monitor 2"]
            for gi in (1, 2):
                cap = 100 * minor + 10 * gi
                t.write("proc/driver/nvidia/capabilities/gpu%d/mig/gi%d/ci0/access" % (minor, gi),
                        "DeviceFileMinor: %d\n" % (cap + 1))
                lines += ["gpu%d/gi%d/access %d" % (minor, gi, cap),
                          "gpu%d/gi%d/ci0/access %d" % (minor, gi, cap + 1)]
                t.node("dev/nvidia-caps/nvidia-cap%d" % cap, CAPS, cap)
                t.node("dev/nvidia-caps/nvidia-cap%d" % (cap + 1), CAPS, cap + 1)
            t.write("proc/driver/nvidia-caps/mig-minors", "\n".join(lines) + "\n")
    if libs:
        names = {"libcuda": "libcuda.so.1", "libnvidia-ml": "libnvidia-ml.so.1",
                 "libnvidia-ptxjitcompiler": "libnvidia-ptxjitcompiler.so.1",
                 "libnvidia-encode": "libnvidia-encode.so.1",
                 "libGLX_nvidia": "libGLX_nvidia.so.0", "libnvidia-brandnew": "libnvidia-brandnew.so.1"}
        for name, soname in names.items():
            t.write("%s/%s.so.%s" % (LIBDIR, name, DRIVER), elf(soname))
        os.symlink("libcuda.so." + DRIVER, root / LIBDIR / "libcuda.so.1")
        t.write(LIBDIR + "/libc.so.6", elf("libc.so.6"))
        t.write("etc/ld.so.cache", ld_so_cache([("libcuda.so.1", "/%s/libcuda.so.1" % LIBDIR),
                                                ("libc.so.6", "/%s/libc.so.6" % LIBDIR)]))
        os.chmod(t.write("usr/bin/nvidia-smi", "#!/bin/sh\necho smi\n"), 0o755)
        t.write("lib/firmware/nvidia/%s/gsp_ga10x.bin" % DRIVER, "firmware")
    return t


def amd(root: pathlib.Path) -> Tree:
    """Two cards, a CPU node in the topology before them."""
    t = Tree(root)
    t.major(KFD, "kfd")
    t.node("dev/kfd", KFD, 0)
    nodes = "sys/class/kfd/kfd/topology/nodes/"
    t.write(nodes + "0/properties", "cpu_cores_count 64\nsimd_count 0\ndrm_render_minor 0\n")
    for i, pci in enumerate(("0000:c1:00.0", "0000:c5:00.0")):
        t.write(nodes + "%d/properties" % (i + 1),
                "simd_count 416\nvendor_id 4098\ndrm_render_minor %d\nunique_id %d\n"
                % (128 + i, 1000 + i))
        t.write(nodes + "%d/name" % (i + 1), "aldebaran\n")
        t.pci(pci, "0x1002", "0x038000", drm=128 + i)
        t.node("dev/dri/renderD%d" % (128 + i), 226, 128 + i)
    return t


def intel(root: pathlib.Path) -> Tree:
    t = Tree(root)
    t.pci("0000:00:02.0", "0x8086", "0x030000", drm=128)
    t.node("dev/dri/renderD128", 226, 128)
    t.write("proc/devices", "Character devices:\n226 drm\n")
    return t
