#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cut the power of a machine that works, again and again, and look at what is left.

    tests/vm/power.py [CUTS]     (30)

A Debian kernel in qemu runs pipelines, imports and gc in a home on an ext4 disk that stays. At a random
instant qemu is killed, which loses all that the guest had not written to its disk. The next boot
must find: every task that was reported succeeded is recorded so, `fsck --full` clean before and after
`gc`, `resume --all` succeeds, no lease and nothing in tmp/. Exit status 77 when this machine has no qemu.
"""

import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
VM = TOP / "build" / "vm"
WORK = VM / "power"
SEED = int(os.environ.get("POWER_SEED", "0")) or random.randrange(1 << 30)

sys.path.insert(0, str(TOP / "tests" / "cli"))


def prepare():
    """Kernel, modules and busybox as run-vm.sh gets them; an initramfs and a disk of our own."""
    done = subprocess.run([HERE / "run-vm.sh", "boot"], capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
        sys.exit(done.returncode)
    shutil.rmtree(WORK, ignore_errors=True)
    init = WORK / "init"
    for d in ("bin", "dev", "disk", "proc", "sys", "tmp"):
        (init / d).mkdir(parents=True)
    shutil.copy(HERE / "power-init", init / "init")
    shutil.copy(VM / "busybox" / "bin" / "busybox", init / "bin")
    shutil.copy(os.environ.get("DUGOUT_BIN") or TOP / "build" / "dugout", init / "dugout")
    shutil.copytree(VM / "modules", init / "modules")
    subprocess.run("find . | cpio -o -H newc -R 0:0 --quiet | gzip -1 >../initramfs.gz", shell=True, cwd=init, check=True)
    subprocess.run([TOP / "rootfs" / "build.sh", "busybox-tiny"], check=True, capture_output=True)
    disk = WORK / "disk"
    disk.mkdir()
    shutil.copy(TOP / "build" / "rootfs" / "busybox-tiny.tar", disk)
    (disk / "power.json").write_text(pipeline_text())
    subprocess.run(["mkfs.ext4", "-q", "-E", "root_owner=0:0", "-d", disk, WORK / "disk.img", "512M"], check=True)


def pipeline_text():
    from conftest import pipeline, sh
    art = "{{$.outputs.artifacts['%s'].path}}".__mod__
    inp = "{{$.inputs.artifacts['%s'].path}}".__mod__
    make = 'mkdir -p "$(dirname "$0")" "$1/d"; (cat /proc/sys/kernel/random/uuid; head -c 200000 /dev/zero) >"$0"; cp "$0" "$1/d/x"'
    return pipeline({
        "a": {**sh(make, art("file"), art("dir")), "art_out": {"file": "system.Dataset", "dir": "system.Dataset"}},
        "b": {**sh('mkdir -p "$(dirname "$0")"; cat "$1" "$2/d/x" >"$0"', art("model"), inp("file"), inp("dir")),
              "art_in": {"file": "a.file", "dir": "a.dir"}, "art_out": {"model": "system.Model"}},
        "c": {**sh('mkdir -p "$(dirname "$0")"; cat "$1" >"$0"', art("copy"), inp("m")),
              "art_in": {"m": "b.model"}, "art_out": {"copy": "system.Model"}},
    }, name="power")


class Boot:
    """One life of the machine."""

    def __init__(self, drive=None):
        self.lines, self.working = [], threading.Event()
        self.p = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "q35", "-accel", os.environ.get("VM_ACCEL", "tcg"), "-cpu", "max", "-smp", "2",
             "-m", "768", "-no-reboot", "-nic", "none", "-nodefaults", "-display", "none", "-serial", "stdio",
             *(drive or ["-drive", "if=virtio,format=raw,cache=writeback,file=%s" % (WORK / "disk.img")]),
             "-kernel", VM / "vmlinuz", "-initrd", WORK / "initramfs.gz",
             "-append", "console=ttyS0 quiet panic=-1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.p.stdout:
            self.heard(line.rstrip())
            if line.startswith("POWER working"):
                self.working.set()

    def heard(self, line):
        self.lines.append(line)

    def cut(self, after):
        if not self.working.wait(300):
            self.p.kill()
            raise SystemExit("the guest never came to work:\n" + "\n".join(self.lines[-40:]))
        time.sleep(after)
        self.p.kill()
        self.p.wait()

    def reported(self, n_lines=None):
        """(run, task) that the first lines of the console said had succeeded; the last one may be torn."""
        done, run = set(), None
        for line in self.lines[:-1 if n_lines is None else n_lines]:
            begins = re.fullmatch(r"run (power-\w+)", line)
            ends = re.fullmatch(r"  succeeded +(\w)  [\d.]+ s", line)
            run = begins.group(1) if begins else run
            if ends and run:
                done.add((run, ends.group(1)))
        return done

    def tell(self, word):
        return [line.split(" ", 2)[2] for line in self.lines if line.startswith("POWER %s " % word)]


def check(boot, promised):
    looks = boot.tell("look")
    bad = [x for x in looks if not x.endswith("rc=0")]
    runs = {r["name"] for text in boot.tell("runs") for r in json.loads(text)}
    shown = {d["name"]: {t["path"]: t["state"] for t in d["tasks"]} for d in map(json.loads, boot.tell("show"))}
    for run, task in promised:
        if run not in runs:
            bad.append("run %s is lost" % run)
        elif run in shown and shown[run][task] != "SUCCEEDED":
            bad.append("task %s of %s was reported and is %s" % (task, run, shown[run][task]))
    if bad or len(looks) < 5:
        print("\n".join(boot.lines[-80:]))
        raise SystemExit("after a cut: %s" % (bad or looks))
    return len([p for p in promised if p[0] in shown])


def main():
    cuts = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    rng = random.Random(SEED)
    prepare()
    print("seed %d" % SEED, flush=True)
    promised, held = set(), 0
    for i in range(cuts + 1):
        boot = Boot()
        boot.cut(rng.uniform(0.2, 6) if i < cuts else 0)
        if i:
            held += check(boot, promised)
        promised |= boot.reported()
        print("cut %d: %d tasks reported so far, %d looked at again" % (i + 1, len(promised), held), flush=True)
    print("%d cuts, nothing lost" % cuts)


if __name__ == "__main__":
    main()
