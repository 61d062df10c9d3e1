# SPDX-License-Identifier: Apache-2.0
"""Timings of the shipped binary beside others, interleaved, as medians and ratios.

Printed, never asserted: what a figure should be stands in the last column (design, section 5).
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = os.environ.get("DUGOUT_BIN") or str(ROOT / "build" / "dugout")
TIMES = int(os.environ.get("BENCH_TIMES", "15"))


def run(argv, env=None, cwd=None):
    """Seconds that a command took; None when it failed."""
    begun = time.monotonic()
    done = subprocess.run(argv, env=env, cwd=cwd, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return None if done.returncode else time.monotonic() - begun


def paired(ours, others, times=TIMES, before=lambda: None):
    """Medians in ms of ours and of each other command, taken in turns."""
    taken = {name: [] for name in ["dugout", *others]}
    for _ in range(times):
        for name, (argv, env) in {"dugout": ours, **others}.items():
            before()
            one = run(argv, env)
            if one is not None:
                taken[name].append(one * 1000)
    return {k: statistics.median(v) if v else None for k, v in taken.items()}


def line(what, medians, target):
    mine = medians["dugout"]
    print("%-40s %9.1f ms" % (what, mine))
    for name, value in medians.items():
        if name == "dugout":
            continue
        if value is None:
            print("    %-36s not installed, or fails here" % name)
        else:
            print("    %-36s %9.1f ms   ratio %.2f   (target %s)" % (name, value, mine / value,
                                                                      target))


def bundle(path, rootfs):
    """An OCI bundle for crun and runc."""
    path.mkdir()
    subprocess.run(["runc", "spec"], cwd=path, check=False)
    config = path / "config.json"
    if not config.exists():
        return None
    spec = json.loads(config.read_text())
    spec["process"]["args"] = ["/bin/true"]
    spec["process"]["terminal"] = False
    spec["process"].pop("rlimits", None)
    spec["root"] = {"path": str(rootfs), "readonly": True}
    config.write_text(json.dumps(spec))
    return path


def chain(n):
    tasks, comp = {}, {"comp-t": {"executorLabel": "exec-t"}}
    for i in range(n):
        tasks["t%d" % i] = {"componentRef": {"name": "comp-t"}, "taskInfo": {"name": "t%d" % i},
                            "cachingOptions": {"enableCache": True}}
        if i:
            tasks["t%d" % i]["dependentTasks"] = ["t%d" % (i - 1)]
    return json.dumps({
        "components": comp,
        "deploymentSpec": {"executors": {"exec-t": {"container": {
            "image": "tiny", "command": ["true"]}}}},
        "pipelineInfo": {"name": "chain"}, "root": {"dag": {"tasks": tasks}},
        "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.15.2"})


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="dugout-bench-"))
    env = {**os.environ, "DUGOUT_HOME": str(work / "home")}
    for name in ("busybox-tiny", "python-small"):
        subprocess.run([str(ROOT / "rootfs" / "build.sh"), name], check=True)
    tiny = ROOT / "build/rootfs/busybox-tiny.tar"
    small = ROOT / "build/rootfs/python-small.tar"
    subprocess.run([BIN, "image", "import", tiny, "--name", "tiny"], env=env, check=True)
    root = work / "root"
    root.mkdir()
    subprocess.run(["tar", "-xf", tiny, "-C", root], check=True)
    bundled = bundle(work / "bundle", root) if shutil.which("runc") else None
    hide = "umount /sys/fs/cgroup/unified 2>/dev/null; exec "

    print("%d runs each, taken in turns; medians\n" % TIMES)
    others = {"bubblewrap": (["bwrap", "--ro-bind", str(root), "/", "--proc", "/proc", "--dev",
                              "/dev", "--unshare-all", "/bin/true"], None)}
    if bundled:
        others["runc"] = (["runc", "run", "--bundle", str(bundled), "bench-r"], None)
        others["crun"] = (["unshare", "-m", "sh", "-c",
                           hide + "crun run --bundle %s bench-c" % bundled], None)
    others = {k: v for k, v in others.items() if shutil.which({"bubblewrap": "bwrap"}.get(k, k))}
    line("box: start to exit of true",
         paired(([BIN, "box", "tiny", "--", "true"], env), others), "0.45 crun, 1.3 bubblewrap")

    pipeline = work / "chain.json"
    pipeline.write_text(chain(100))
    taken = run([BIN, "run", "--quiet", "--no-cache", str(pipeline)], env)
    print("%-40s %9.1f ms a step" % ("chain of 100 trivial tasks", taken * 10))
    taken = run([BIN, "run", "--quiet", str(pipeline)], env)
    print("%-40s %9.1f ms" % ("the same, all cached", taken * 1000))

    def forget():
        shutil.rmtree(work / "fresh", ignore_errors=True)
        shutil.rmtree(work / "untar", ignore_errors=True)
        (work / "untar").mkdir()

    fresh = {**os.environ, "DUGOUT_HOME": str(work / "fresh")}
    line("image import, 82 MiB of Python",
         paired(([BIN, "image", "import", str(small), "--name", "s"], fresh),
                {"tar -xf": (["tar", "-xf", str(small), "-C", str(work / "untar")], None)},
                5, forget), "1.0 on disk")

    big = work / "big"
    with open(big, "wb") as f:
        for _ in range(1024):
            f.write(os.urandom(1 << 20))
    line("artifact import, 1 GiB",
         paired(([BIN, "artifact", "import", str(big)], fresh),
                {"sha256sum + cp + sync": (["sh", "-c", 'sha256sum "$0" && cp "$0" "$0.c" && '
                                            'sync "$0.c"; rm -f "$0.c"', str(big)], None)},
                3, forget), "1.1")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
