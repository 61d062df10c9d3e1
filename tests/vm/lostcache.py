#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cut the power of a machine whose disk has a cache: what was not flushed is lost, in part and in any order.

    tests/vm/lostcache.py [CUTS]     (10)

power.py kills qemu, which keeps all that the guest ever sent to its disk. Here qemu also logs every write
and every flush of one life of the guest (its driver blklogwrites). For each cut a point of that log is drawn,
the last before some flush: the disk gets all writes up to the flush before it, and of those since each with an even chance. The
next boot of that disk must find what power.py wants: nothing that was reported by then is lost, `fsck --full` is
clean before and after `gc`, `resume --all` succeeds. A forgotten fsync, or one in the wrong order, shows here.
"""

import os
import random
import shutil
import struct
import sys

import power

SECTOR = 512
FLUSH, DISCARD = 1, 4
WORK_SECONDS = int(os.environ.get("POWER_SECONDS", "40"))


class Logged(power.Boot):
    """A life of the machine with a log of what its disk is told; each line knows how long the log was."""

    def __init__(self, disk, log):
        self.log, self.at = log, []
        log.write_bytes(b"")
        super().__init__([
            "-blockdev", "driver=file,node-name=disk,filename=%s" % disk,
            "-blockdev", "driver=file,node-name=log,filename=%s" % log,
            "-blockdev", "driver=blklogwrites,node-name=both,file=disk,log=log,log-sector-size=%d" % SECTOR,
            "-device", "virtio-blk-pci,drive=both"])

    def heard(self, line):
        super().heard(line)
        self.at.append(self.log.stat().st_size)


def entries(log):
    """(where the entry ends, sector, sectors, flags, where its data are) of each, in order.

    The format is that of the kernel's dm-log-writes: a superblock, then for each entry a sector that
    describes it and its data; numbers are little-endian."""
    size = log.stat().st_size
    with open(log, "rb") as f:
        magic, version = struct.unpack("<QQ", f.read(16))
        assert (magic, version) == (0x6A736677736872, 1), "this is no log of writes"
        at = SECTOR
        while at + SECTOR <= size:
            f.seek(at)
            sector, n, flags, _ = struct.unpack("<QQQQ", f.read(32))
            end = at + SECTOR + (0 if flags & DISCARD else n * SECTOR)
            if end > size or (n == 0 and not flags):
                return
            yield end, sector, n, flags, at + SECTOR
            at = end


def disk_after(rng, base, log, told, cut, to):
    """base with what a disk keeps that loses its cache at entry `cut`; how many writes were lost"""
    flushed = max([i for i in range(cut) if told[i][3] & FLUSH], default=-1)
    lost = 0
    shutil.copyfile(base, to)
    with open(log, "rb") as f, open(to, "r+b") as out:
        for i, (_, sector, n, flags, data) in enumerate(told[:cut]):
            if flags & DISCARD or not n:
                continue
            if i > flushed and rng.random() < 0.5:
                lost += 1
                continue
            f.seek(data)
            out.seek(sector * SECTOR)
            out.write(f.read(n * SECTOR))
    return lost


def draw(rng, told, begun):
    """where a cut loses most: before the flush that follows a write, each write as likely as the other"""
    at = rng.choice([i for i in range(begun, len(told)) if not told[i][3] & FLUSH])
    return next((i for i in range(at, len(told)) if told[i][3] & FLUSH), len(told))


def main():
    cuts = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    rng = random.Random(power.SEED)
    base, log, disk = power.WORK / "base.img", power.WORK / "log", power.WORK / "disk.img"
    power.prepare()
    print("seed %d" % power.SEED, flush=True)
    power.Boot().cut(0)
    shutil.copyfile(disk, base)
    life = Logged(disk, log)
    life.cut(WORK_SECONDS)
    told = list(entries(log))
    flushes = sum(1 for e in told if e[3] & FLUSH)
    print("%d writes and %d flushes in %d s of work" % (len(told) - flushes, flushes, WORK_SECONDS), flush=True)
    begun = next(i for i, e in enumerate(told) if e[0] > life.at[life.lines.index("POWER working")])
    for i in range(cuts):
        cut = draw(rng, told, begun)
        lost = disk_after(rng, base, log, told, cut, disk)
        there = told[cut - 1][0]
        promised = life.reported(sum(1 for at in life.at if at <= there))
        boot = power.Boot()
        boot.cut(0)
        held = power.check(boot, promised)
        print("cut %d after %d of %d entries: %d writes lost, %d tasks reported by then, %d looked at again"
              % (i + 1, cut, len(told), lost, len(promised), held), flush=True)
    print("%d cuts, nothing lost" % cuts)


if __name__ == "__main__":
    main()
