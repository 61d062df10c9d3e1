# SPDX-License-Identifier: Apache-2.0
"""Boxes leave nothing behind: cgroups, mounts, namespaces, descriptors are where they were.

DUGOUT_TEST_BOXES=5000 is the long form; the count here finds what grows with every box."""

import glob
import os
import time

from conftest import sh, wait_until

BOXES = int(os.environ.get("DUGOUT_TEST_BOXES") or 60)


def cgroups() -> dict:
    """Ours: other programs make and remove theirs meanwhile."""
    return {pool: len(glob.glob(pool + "/slot-*"))
            for m in open("/proc/self/mountinfo") if m.split(" - ")[1].startswith("cgroup")
            for pool in [m.split()[4] + "/dugout"] if os.path.isdir(pool)}


def look(home) -> dict:
    """What is ours: mounts of it, and namespaces of processes that have it in their environment."""
    spaces, processes = set(), 0
    for environ in glob.glob("/proc/[0-9]*/environ"):
        try:
            if str(home).encode() in open(environ, "rb").read():
                processes += 1
                spaces |= {os.readlink(ns) for ns in glob.glob(os.path.dirname(environ) + "/ns/*")}
        except OSError:
            pass
    return {"cgroups": cgroups(), "mounts": open("/proc/self/mountinfo").read().count(str(home)),
            "spaces": len(spaces), "processes": processes,
            "tmp": len(list((home / "tmp").iterdir())), "trash": len(list((home / "trash").iterdir()))}


def test_boxes_leave_nothing_behind(dugout):
    dugout.ok("box", "--memory", "64Mi", "--pids", "50", "tiny", "--", "true")
    # where much waits to be written, a child still tidies up after the first one
    wait_until(lambda: not look(dugout.home)["processes"])
    before = look(dugout.home)
    assert not before["tmp"] and not before["trash"]
    for _ in range(BOXES):
        dugout.ok("box", "--memory", "64Mi", "--pids", "50", "tiny", "--", "true")
    # a slot more may be taken when others run boxes at the same time, but not one a box
    slots = before.pop("cgroups")
    for pool, n in cgroups().items():
        assert n <= slots.get(pool, 0) + BOXES // 2
    wait_until(lambda: {k: v for k, v in look(dugout.home).items() if k != "cgroups"} == before)


def test_an_engine_s_descriptors_do_not_grow_with_its_tasks(dugout, write):
    n = max(BOXES, 60)
    f = write({"t%d" % i: sh("true") for i in range(n)} | {"last": {
        **sh("sleep 2"), "after": ["t%d" % i for i in range(n)]}})
    p = dugout.start("run", f, "--quiet", "--no-cache", "--jobs", "4")  # nobody reads its pipes meanwhile
    most = 0
    while p.poll() is None:
        try:
            most = max(most, len(os.listdir("/proc/%d/fd" % p.pid)))
        except OSError:
            pass
        time.sleep(0.005)
    p.communicate(timeout=300)
    assert p.returncode == 0 and 5 < most < 60, most
