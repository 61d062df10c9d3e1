# SPDX-License-Identifier: Apache-2.0
"""A pipeline that looks around in a box and grabs memory, and what it must have seen."""

import json
import os
import pathlib
import re
import subprocess

from conftest import pipeline, sh
from hostile import compile_probe

LOOK = r"""
/probe id | grep -c NoNewPrivs.*1; grep Seccomp: /proc/self/status
echo uid_map $(cat /proc/self/uid_map)
echo root $(grep ' / / ' /proc/self/mountinfo | sed 's/.* - \([a-z0-9]*\) .*/\1/')
echo links $(ls /sys/class/net)
echo cpus $(nproc)
echo threads $(/probe threads 300)
# as much CPU as tells a share of it from all of it, on a machine of any speed: 25 ticks
used=0; while [ $used -lt 25 ]; do
    n=0; while [ $n -lt 1000 ]; do n=$((n + 1)); done
    read a b c d e f g h i j k l m user system rest </proc/self/stat; used=$((user + system))
done
echo stat $(cut -d ' ' -f 14,15 /proc/self/stat)
echo cgroup $(cat /proc/self/cgroup)
"""


def archive(tiny_tar, base: pathlib.Path) -> pathlib.Path:
    """The tar of a root file system: tiny with the probe in it; the probe lies beside it."""
    root = base / "root"
    root.mkdir()
    subprocess.run(["tar", "-xf", tiny_tar, "-C", root], check=True)
    (root / "probe").write_bytes(compile_probe(base).read_bytes())
    (root / "probe").chmod(0o755)
    subprocess.run(["tar", "-cf", base / "p.tar", "-C", root, "."], check=True)
    return base / "p.tar"


def text() -> str:
    return pipeline({
        "look": {**sh(LOOK), "image": "p",
                 "resources": {"cpuLimit": 0.2, "resourceCpuLimit": "200m"}},
        "hog": {**sh("/probe alloc 300 && exit 7"), "image": "p", "after": ["look"],
                "resources": {"resourceMemoryLimit": "64Mi", "memoryLimit": 0.0671}}})


def enforced(result: dict) -> dict:
    said = result["enforced"]
    return json.loads(said) if isinstance(said, str) else said


def check(look: dict, hog: dict, seen: str, ids: str) -> dict:
    """The two results against what the first box saw; gives what the record says of it."""
    said, hog_said = enforced(look), enforced(hog)

    def value(key):
        return re.search(r"^%s (.*)$" % key, seen, re.M).group(1)

    assert ("Seccomp:\t2" in seen) == said["seccomp"]
    assert (value("root") == "overlay") == said["overlay"]
    assert (value("uid_map").split() != ["0", "0", "4294967295"]) == said["userns"]
    assert said["ids"] == ids
    assert value("links") == "lo" and said["network"] == "none"
    assert (int(value("threads")) < 60) == said["pids"], seen
    used = sum(map(int, value("stat").split())) / os.sysconf("SC_CLK_TCK")
    wall = (look["finishedUnixMs"] - look["startedUnixMs"]) / 1000
    if said["cpu"]:
        assert wall > 2.5 * used, (used, wall, seen)
    else:
        assert value("cpus") == "1"  # ceil(0.2): the affinity is what is left
    if hog_said["memory"]:
        assert hog["oom"] and "out of memory: the limit is 64" in hog["error"]
        assert 30 << 20 < hog["peakMemoryBytes"] <= 65 << 20
    else:  # it was looked at in time, or it was done before
        assert hog["oom"] or hog["exitCode"] == 7
    return said
