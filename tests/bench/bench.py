# SPDX-License-Identifier: Apache-2.0
"""Timings of the shipped binary beside others: taken in turns, as medians and ratios.

    make bench            all rows
    BENCH_ROWS=box,load   only these
    BENCH_TIMES=30        so many turns for the short ones (15)
    BENCH_RUNS=300        so many runs in the record that lineage asks (3000)
    BENCH_DIR=/mnt                  where the homes lie: another file system (/tmp)
    BENCH_COPIES=4                  times 250 MiB are the image that load loads (1)
    BENCH_GIB=1 BENCH_FILES=10000   what publish stores (4; 100000)

Nothing is asserted. Each row has the target that the design sets for the ratio beside it, and
the largest peak memory of each command. A command that is not installed, or fails here, is said.
Others' cgroup: crun does not know a v1 tree with an empty v2 one beside it, so it gets a mount
namespace in which that is not mounted; all commands are started by the same fork.
"""

import copy
import ctypes
import io
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time

import ingest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = os.environ.get("DUGOUT_BIN") or str(ROOT / "build" / "dugout")
TIMES = int(os.environ.get("BENCH_TIMES", "15"))
RUNS = os.environ.get("BENCH_RUNS", "3000")
SETTLE_S = 0.05  # the kernel's threads still take down the namespaces of whoever ran before
LIBC = ctypes.CDLL(None, use_errno=True)


class Command:
    """A command line with its environment, and what it took."""

    def __init__(self, name, argv, env=None, mounts=None, before=None, speaks=False):
        self.name, self.argv, self.env = name, [str(a) for a in argv], env
        self.mounts, self.before, self.speaks = mounts, before, speaks
        self.took_ms, self.peak_kib, self.failed = [], 0, ""
        self.left_ms = []  # of one that speaks: from its word to the end

    def once(self):
        if self.before:
            self.before()
        time.sleep(SETTLE_S)
        # To a pipe: dugout hands one over, as the others do, while what goes to a file it passes on.
        with open(os.devnull, "r+b") as null:
            begun = time.monotonic()
            p = subprocess.Popen(self.argv, env=self.env, stdin=null, stderr=subprocess.PIPE,
                                 stdout=subprocess.PIPE if self.speaks else null,
                                 preexec_fn=self.enter)
            spoke = os.read(p.stdout.fileno(), 1) and time.monotonic() if self.speaks else begun
            said = p.stderr.read()  # to the end: however much it is, nobody waits for us
            p.wait()
            took = time.monotonic() - begun
            for pipe in filter(None, (p.stdout, p.stderr)):
                pipe.close()
            if p.returncode:
                self.failed = said.decode(errors="replace").strip().splitlines()[-1:] or "?"
                return
        self.took_ms.append(took * 1000)
        self.left_ms.append((begun + took - spoke) * 1000)

    def measure_memory(self):
        """Once more under time(1): a child of this interpreter would be charged with its size."""
        if self.before:
            self.before()
        with tempfile.NamedTemporaryFile() as out:
            subprocess.run(["/usr/bin/time", "-f", "%M", "-o", out.name, *self.argv], env=self.env,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, preexec_fn=self.enter)
            self.peak_kib = int(out.read().split()[-1])

    def enter(self):
        if self.mounts is not None:
            LIBC.setns(self.mounts, 0x20000)  # CLONE_NEWNS

    @property
    def median(self):
        return statistics.median(self.took_ms)


def compare(what, ours, others, times=TIMES, each=1, unit="ms"):
    """A row: ours, then each (command, target), all run in turns, of which each begins one further
    on: nobody has always the same one's remains to wait for. each: steps in one run."""
    commands = [ours, *(o for o, _ in others)]
    for i in range(times):
        at = i % len(commands)
        for c in commands[at:] + commands[:at]:
            if not c.failed:
                c.once()
    for c in commands:
        if not c.failed:
            c.measure_memory()
    print("\n%s (%d turns)" % (what, times))
    for c, target in [(ours, None), *others]:
        if c.failed:
            print("    %-40s fails here: %s" % (c.name, c.failed[0][:90]))
            continue
        ratio = "" if c is ours or ours.failed else "ratio %5.2f" % (ours.median / c.median)
        if ratio and target:
            ratio += "   target %s" % target
        print("    %-40s %9.2f %s  %6.1f MiB   %s" % (c.name, c.median / each, unit,
                                                     c.peak_kib / 1024, ratio))


def spread(what, commands, times, target):
    """A row of how evenly commands end, all run in turns."""
    for _ in range(times):
        for c in commands:
            if not c.failed:
                c.once()
    print("\n%s (%d turns; target: %s)" % (what, times, target))
    for c in commands:
        print_spread(c.name, c.took_ms, c.failed)
        if c.speaks and not c.failed:
            print_spread("    from its word to the end", c.left_ms)


def print_spread(name, took_ms, failed=""):
    if failed or not took_ms:
        print("    %-40s fails here: %s" % (name, (failed or ["?"])[0][:90]))
        return
    t = sorted(took_ms)
    print("    %-40s p50 %7.2f  p90 %7.2f  p99 %7.2f  most %7.2f ms" % (
        name, t[len(t) // 2], t[len(t) * 9 // 10], t[-(-len(t) * 99 // 100) - 1], t[-1]))


def kib(pid, name, file="status"):
    with open("/proc/%d/%s" % (pid, file)) as f:
        return next(int(x.split()[1]) for x in f if x.startswith(name + ":"))


class Writer:
    """A process that writes 2 GiB over and over, so that as much is waiting for the disk."""

    def __init__(self, path, size=2 << 30):
        self.pid = os.fork()
        if self.pid == 0:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            piece = bytes(1 << 20)
            while True:
                for at in range(0, size, len(piece)):
                    os.pwrite(fd, piece, at)
        end = time.monotonic() + 30
        while self.dirty() < size * 9 // 10 and time.monotonic() < end:
            time.sleep(0.1)

    @staticmethod
    def dirty():
        with open("/proc/meminfo") as f:
            m = {x.split(":")[0]: int(x.split()[1]) << 10 for x in f}
        return m["Dirty"] + m["Writeback"]

    def stop(self):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


def there(program):
    return shutil.which(program) is not None


# ---- what the rows need ------------------------------------------------------------------------


def docker_archive(path, tars):
    """A docker archive of plain layers."""
    import hashlib

    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {
        "type": "layers",
        "diff_ids": ["sha256:" + hashlib.sha256(t).hexdigest() for t in tars]}}).encode()
    members = {"c.json": config, **{"%d.tar" % i: t for i, t in enumerate(tars)}}
    members["manifest.json"] = json.dumps([{
        "Config": "c.json", "RepoTags": [path.stem + ":1"],
        "Layers": ["%d.tar" % i for i in range(len(tars))]}]).encode()
    with tarfile.open(path, "w") as out:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def small_layer(i):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("layer/%d" % i)
        info.size = 2
        tar.addfile(info, io.BytesIO(b"x\n"))
    return out.getvalue()


def split(rootfs, n):
    """The bytes of a tar archive as n layers of about the same size, each with its directories."""
    if n == 1:
        return [rootfs.read_bytes()]
    with tarfile.open(rootfs) as tar:
        members = tar.getmembers()
        each = sum(m.size for m in members) / n
        outs = [io.BytesIO() for _ in range(n)]
        layers = [tarfile.open(fileobj=o, mode="w", format=tarfile.PAX_FORMAT) for o in outs]
        done = 0
        for m in members:
            at = min(int(done / each), n - 1)
            layers[at].addfile(m, tar.extractfile(m) if m.isreg() else None)
            done += m.size
        for x in layers:
            x.close()
    return [o.getvalue() for o in outs]


def copies(rootfs, n, path):
    """A tar archive with the tree of another n times: at its place, and below /1, /2 ..."""
    with tarfile.open(rootfs) as tar, tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
        for i in range(n):
            for m in tar.getmembers():
                m = copy.copy(m)
                m.pax_headers = {}  # long names, which tarfile would take from there
                if i:
                    m.name = "%d/%s" % (i, m.name)
                    m.linkname = "%d/%s" % (i, m.linkname) if m.islnk() else m.linkname
                out.addfile(m, tar.extractfile(m) if m.isreg() else None)
    return path


def bundle(path, rootfs):
    """An OCI bundle for crun and runc: limits of memory and processes, a seccomp filter."""
    path.mkdir()
    subprocess.run(["runc", "spec"], cwd=path, check=True)
    spec = json.loads((path / "config.json").read_text())
    spec["process"].update({"args": ["/bin/true"], "terminal": False})
    spec["process"].pop("rlimits", None)
    spec["root"] = {"path": str(rootfs), "readonly": True}
    spec["linux"]["resources"]["memory"] = {"limit": 256 << 20}
    spec["linux"]["resources"]["pids"] = {"limit": 100}
    spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["reboot", "kexec_load", "init_module"], "action": "SCMP_ACT_ERRNO"}]}
    (path / "config.json").write_text(json.dumps(spec))
    return path


def chain(n):
    tasks = {}
    for i in range(n):
        tasks["t%d" % i] = {"componentRef": {"name": "comp-t"}, "taskInfo": {"name": "t%d" % i},
                            "cachingOptions": {"enableCache": True}}
        if i:
            tasks["t%d" % i]["dependentTasks"] = ["t%d" % (i - 1)]
    return json.dumps({
        "components": {"comp-t": {"executorLabel": "exec-t"}},
        "deploymentSpec": {"executors": {"exec-t": {"container": {
            "image": "tiny", "command": ["true"]}}}},
        "pipelineInfo": {"name": "chain"}, "root": {"dag": {"tasks": tasks}},
        "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.15.2"})


def loop(n):
    """A loop over n numbers with one trivial container task."""
    return json.dumps({
        "components": {
            "comp-t": {"executorLabel": "exec-t"},
            "comp-loop": {"inputDefinitions": {"parameters": {"i": {"parameterType": "STRING"}}},
                          "dag": {"tasks": {"t": {"componentRef": {"name": "comp-t"},
                                                  "taskInfo": {"name": "t"},
                                                  "cachingOptions": {"enableCache": True},
                                                  "inputs": {"parameters": {"i": {
                                                      "componentInputParameter": "i"}}}}}}}},
        "deploymentSpec": {"executors": {"exec-t": {"container": {
            "image": "tiny:1", "command": ["true"]}}}},
        "pipelineInfo": {"name": "loop%d" % n},
        "root": {"dag": {"tasks": {"loop": {
            "componentRef": {"name": "comp-loop"}, "taskInfo": {"name": "loop"},
            "parameterIterator": {"itemInput": "i",
                                  "items": {"raw": json.dumps(list(range(n)))}}}}}},
        "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.15.2"})


def big_output():
    """A step that writes 1 GiB as an artifact."""
    path = "{{$.outputs.artifacts['big'].path}}"
    script = 'mkdir -p "$(dirname "$0")"; dd if=/dev/zero of="$0" bs=1M count=1024 2>/dev/null'
    return json.dumps({
        "components": {"comp-t": {"executorLabel": "exec-t", "outputDefinitions": {"artifacts": {
            "big": {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}}}}},
        "deploymentSpec": {"executors": {"exec-t": {"container": {
            "image": "tiny", "command": ["sh", "-c", script, path]}}}},
        "pipelineInfo": {"name": "big"},
        "root": {"dag": {"tasks": {"t": {"componentRef": {"name": "comp-t"},
                                         "taskInfo": {"name": "t"}}}}},
        "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.15.2"})


class Bench:
    def __init__(self, work):
        self.work = work
        self.home = {**os.environ, "DUGOUT_HOME": str(work / "home")}
        self.fresh = {**os.environ, "DUGOUT_HOME": str(work / "fresh")}
        for name in ("busybox-tiny", "python-small"):
            subprocess.run([ROOT / "rootfs" / "build.sh", name], check=True)
        self.tiny = (ROOT / "build/rootfs/busybox-tiny.tar").read_bytes()
        archive = docker_archive(work / "tiny.tar", [self.tiny, *map(small_layer, range(9))])
        self.dugout("image", "load", archive)
        self.root = work / "root"
        self.root.mkdir()
        subprocess.run(["tar", "-x", "-C", self.root], input=self.tiny, check=True)
        self.bundle = bundle(work / "bundle", self.root) if there("runc") else None
        self.hidden = self.namespace_without_v2()

    def dugout(self, *args):
        subprocess.run([BIN, *map(str, args)], env=self.home, check=True,
                       stdout=subprocess.DEVNULL)

    def namespace_without_v2(self):
        """A descriptor of a mount namespace where no cgroup2 is mounted beside v1."""
        p = subprocess.Popen(["unshare", "-m", "sh", "-c", "umount /sys/fs/cgroup/unified "
                              "2>/dev/null; echo; exec sleep 60"], stdout=subprocess.PIPE)
        p.stdout.readline()
        fd = os.open("/proc/%d/ns/mnt" % p.pid, os.O_RDONLY)
        p.kill()
        p.wait()
        return fd

    def crun(self):
        return Command("crun", ["crun", "run", "--bundle", self.bundle, "bench-c"],
                       mounts=self.hidden)

    # ---- rows ----

    def box(self):
        compare("box: start to exit of true, ten layers, limits, seccomp",
                Command("dugout box", [BIN, "box", "--memory", "256Mi", "--pids", "100", "tiny:1",
                                       "--", "true"], self.home),
                [(self.crun(), "0.45"),
                 (Command("bubblewrap (no cgroup, no seccomp)", self.bwrap("/bin/true")), "1.3"),
                 (Command("runc", ["runc", "run", "--bundle", self.bundle, "bench-r"]), None)])

    def bwrap(self, *argv):
        return ["bwrap", "--ro-bind", self.root, "/", "--proc", "/proc", "--dev", "/dev",
                "--unshare-all", *argv]

    def dirty(self):
        """Beside a writer that keeps 2 GiB of dirty pages on the disk that the home is on."""
        path = self.work / "dirty"
        steps = self.work / "steps.json"
        steps.write_text(loop(100))
        writer = Writer(path)
        try:
            print("\ndirty pages at the start: %.2f GiB" % (writer.dirty() / 2**30))
            spread("beside a writer of 2 GiB of dirty pages: start to exit of echo",
                   [Command("dugout box", [BIN, "box", "--memory", "256Mi", "--pids", "100",
                                           "tiny:1", "--", "echo", "x"], self.home, speaks=True),
                    Command("crun", ["crun", "run", "--bundle", self.bundle_of("/bin/echo", "x"),
                                     "bench-c"], mounts=self.hidden, speaks=True),
                    Command("bubblewrap (no cgroup, no seccomp)", self.bwrap("/bin/echo", "x"),
                            speaks=True)],
                   100, "p99 of at most 20 ms")
            self.dugout("run", "--quiet", "--no-cache", "--jobs", "1", steps)
            print("dirty pages at the end: %.2f GiB" % (writer.dirty() / 2**30))
        finally:
            writer.stop()
            path.unlink()
        took = json.loads(subprocess.run(
            [BIN, "sql", "--format", "json", "select finished_ms - started_ms as ms from attempt"],
            env=self.home, check=True, capture_output=True).stdout)
        print_spread("steps of dugout run, launch to result", [float(x["ms"]) for x in took])

    def memory(self):
        """What stays while a command runs, and the least memory in which one starts."""
        step = self.work / "sleep.json"
        step.write_text(loop(1).replace('["true"]', '["sleep", "600"]'))
        print("\nwhat stays beside a command that runs (target of the supervisor: 2 MiB)")
        for name, argv, env, mounts in (
                ("dugout run", [BIN, "run", "--quiet", "--no-cache", step], self.home, None),
                ("dugout box", [BIN, "box", "tiny:1", "--", "sleep", "600"], self.home, None),
                ("crun", ["crun", "run", "--bundle", self.bundle_of("/bin/sleep", "600"), "bench-s"], None, self.hidden),
                ("bubblewrap", self.bwrap("--die-with-parent", "/bin/sleep", "600"), None, None)):
            self.resident(name, Command(name, argv, env, mounts))
        print("\nsmallest memory limit with which true starts, five times of five (target: 512 KiB)")
        for name, starts in (("dugout box --memory", self.dugout_starts), ("crun", self.crun_starts)):
            low, high = 0, 4096  # multiples of 4 KiB: fails, starts
            if not starts(high):
                print("    %-40s not with %d KiB" % (name, high))
                continue
            while high - low > 4:
                middle = (low + high) // 8 * 4
                low, high = (low, middle) if starts(middle) else (middle, high)
            print("    %-40s %6d KiB" % (name, high))

    def bundle_of(self, *args):
        path = self.work / pathlib.Path(args[0]).name
        shutil.copytree(self.bundle, path)
        spec = json.loads((path / "config.json").read_text())
        spec["process"]["args"] = list(args)
        (path / "config.json").write_text(json.dumps(spec))
        return path

    def resident(self, name, c):
        """Memory of the process that was started, and of the supervisor when there is one."""
        p = subprocess.Popen(c.argv, env=c.env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, preexec_fn=c.enter)
        time.sleep(1.5)
        pids = [(name, p.pid)]
        if name == "dugout run":
            pids = [("dugout run, engine", p.pid), *(
                ("dugout run, supervisor", int(x.read_text().split()[0]))
                for x in (self.work / "home/runs").glob("*/*/pid")
                if os.path.exists("/proc/%s" % x.read_text().split()[0]))]
        for what, pid in pids:
            print("    %-40s peak %6.2f  now %6.2f  its share %6.2f MiB" % (
                what, kib(pid, "VmHWM") / 1024, kib(pid, "VmRSS") / 1024,
                kib(pid, "Pss", "smaps_rollup") / 1024))
        p.terminate()
        if name == "crun":
            subprocess.run(["crun", "kill", "bench-s", "KILL"], capture_output=True)
        p.wait()

    def dugout_starts(self, limit_kib):
        """Under a limit that is enforced: the kernel refuses one that it cannot keep at once."""
        for _ in range(5):
            r = subprocess.run([BIN, "box", "--memory", "%dKi" % limit_kib, "tiny:1", "--", "true"],
                               env=self.home, capture_output=True)
            if r.returncode or b"not enforced" in r.stderr:
                return False
        return True

    def crun_starts(self, limit_kib):
        spec = json.loads((self.bundle / "config.json").read_text())
        spec["linux"]["resources"]["memory"] = {"limit": limit_kib << 10}
        path = self.work / "small"
        shutil.copytree(self.bundle, path, dirs_exist_ok=True)
        (path / "config.json").write_text(json.dumps(spec))
        c = Command("crun", ["crun", "run", "--bundle", path, "bench-m"], mounts=self.hidden)
        for _ in range(5):
            c.once()
        subprocess.run(["crun", "delete", "-f", "bench-m"], capture_output=True,
                       preexec_fn=c.enter)
        return not c.failed

    def chain(self):
        path = self.work / "chain.json"
        path.write_text(chain(100).replace('"tiny"', '"tiny:1"'))
        loop = 'i=0; while [ $i -lt 100 ]; do crun run --bundle "$0" bench-$i; i=$((i+1)); done'
        compare("chain of 100 trivial steps: a step, one fsynced commit each",
                Command("dugout run", [BIN, "run", "--quiet", "--no-cache", path], self.home),
                [(Command("crun alone, 100 times", ["sh", "-c", loop, self.bundle],
                          mounts=self.hidden), "0.9")], 5, each=100)
        compare("the same, all cached: the whole run",
                Command("dugout run", [BIN, "run", "--quiet", path], self.home), [])

    def loops(self):
        paths = {}
        for n in (100, 1000, 10000):
            paths[n] = self.work / ("loop%d.json" % n)
            paths[n].write_text(loop(n))

        def run(n, *more):
            return Command("dugout run, a loop of %d" % n,
                           [BIN, "run", "--quiet", "--jobs", "2", *more, paths[n]], self.home)

        others = "seq 1000 | xargs -P2 -I{} bwrap --ro-bind %s / --proc /proc --dev /dev " \
                 "--unshare-all /bin/true" % self.root
        compare("a loop of 1,000 trivial steps: a step",
                run(1000, "--no-cache"),
                [(Command("xargs -P2 bwrap (no record, cgroup, seccomp)", ["sh", "-c", others]),
                  "1.43 (0.7 of its rate)")], 3, each=1000)
        compare("a loop of 100: a step", run(100, "--no-cache"), [], 3, each=100)
        compare("a loop of 10,000: a step (target: 6 ms on 2 cores, 1.3 of a loop of 100)",
                run(10000), [], 1, each=10000)
        compare("the same, all cached: the whole run (target: 3,000 ms)", run(10000), [], 3)

    def images(self):
        """The image of the samples (250 MiB of Python, 20,000 files) as one layer and as ten;
        BENCH_COPIES of it in one."""
        rootfs = ROOT / "build/rootfs/python-slim-ml.tar"
        subprocess.run([ROOT / "rootfs" / "build.sh", "python-slim-ml"], check=True)
        rootfs = copies(rootfs, int(os.environ.get("BENCH_COPIES", "1")), self.work / "rootfs.tar")
        for n in (1, 10):
            yield n, docker_archive(self.work / ("py%d.tar" % n), split(rootfs, n))

    def load(self):
        """On tmpfs, where processors decide, and on the disk. There every turn has directories of
        its own, removed after the rows of an image: ext4 without a journal searches for inodes that
        were freed in the last seconds, which would slow whoever comes next."""
        memory = self.work / "memory"
        memory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16g", "tmpfs", memory], check=True)
        try:
            for n, archive in self.images():
                oci = self.work / ("oci%d" % n)
                subprocess.run(["skopeo", "copy", "-q", "--insecure-policy",
                                "docker-archive:%s" % archive, "oci:%s:py:1" % oci], check=True)
                for where, path in (("tmpfs", memory), ("disk", self.work / "disk")):
                    self.load_at(where, path, oci, n)
                    self.load_plain_at(where, path, archive, n)
                shutil.rmtree(self.work / "disk", ignore_errors=True)
        finally:
            subprocess.run(["umount", "-l", memory], check=False)
        self.dugout("image", "load", oci)
        compare("image load, every layer known (target: at most 2 s for 1 GB)",
                Command("dugout image load", [BIN, "image", "load", oci], self.home), [], 5)

    def turn_at(self, path, name, script, where):
        """A command in a directory $d that is new each time."""
        path.mkdir(exist_ok=True)

        def forget():
            if where == "tmpfs":
                for p in path.iterdir():
                    shutil.rmtree(p, ignore_errors=True)
            subprocess.run(["sync"])
            time.sleep(1)

        return Command(name, ["sh", "-c", 'd=$(mktemp -d %s/XXXX); %s' % (path, script)],
                       before=forget)

    def load_at(self, where, path, oci, n):
        manifest = json.loads((oci / "index.json").read_text())["manifests"][0]["digest"]
        layers = json.loads((oci / "blobs/sha256" / manifest[7:]).read_text())["layers"]
        blobs = " ".join(str(oci / "blobs/sha256" / x["digest"][7:]) for x in layers)
        podman = "podman --root $d/s --runroot $d/r pull -q oci:%s:py:1" % oci
        untar = "for b in %s; do tar -xzf $b -C $d || exit 1; done" % blobs
        compare("image load, OCI layout, gzip, %d layers, on %s" % (n, where),
                self.turn_at(path, "dugout image load",
                             "DUGOUT_HOME=$d/h exec %s image load %s" % (BIN, oci), where),
                [(self.turn_at(path, "podman pull oci:", podman, where), "0.45"),
                 (self.turn_at(path, "tar -xzf, each layer, nothing verified", untar, where),
                  {"tmpfs": "0.6", "disk": "1.0"}[where])], 5)

    def load_plain_at(self, where, path, archive, n):
        podman = "podman --root $d/s --runroot $d/r load -q -i %s" % archive
        compare("image load, docker archive, %d plain layers, on %s" % (n, where),
                self.turn_at(path, "dugout image load",
                             "DUGOUT_HOME=$d/h exec %s image load %s" % (BIN, archive), where),
                [(self.turn_at(path, "podman load", podman, where), "0.45")], 3)

    def ingest(self):
        path = self.work / "big.json"
        path.write_text(big_output().replace('"tiny"', '"tiny:1"'))
        plain = self.work / "plain"
        write = "dd if=/dev/zero of=%s bs=1M count=1024 2>/dev/null" % plain
        digest = "openssl dgst -sha256" if there("openssl") else "sha256sum"

        def forget():
            shutil.rmtree(self.work / "home/runs", ignore_errors=True)
            for p in (self.work / "home/store/blobs/sha256").iterdir():
                if p.stat().st_size == 1 << 30:
                    p.unlink()
            plain.unlink(missing_ok=True)
            subprocess.run(["sync"])

        compare("a step that writes 1 GiB: written, hashed, durable, in the store",
                Command("dugout run", [BIN, "run", "--quiet", "--no-cache", path], self.home,
                        before=forget),
                [(Command("dd, %s, sync FILE" % digest.split()[0],
                          ["sh", "-c", "%s; %s %s; sync %s" % (write, digest, plain, plain)],
                          before=forget), "1.1")], 5)
        forget()

    def publish(self):
        """Outputs into the store, beside other stores: ingest.py."""
        ingest.main(self.work)

    def lineage(self):
        """A record of a million artifacts beside the same data in ML Metadata's schema."""
        home = self.work / "million"
        home.mkdir()
        print("\nlineage: %s runs of 100 tasks" % RUNS, flush=True)
        for argv in (["fill", home, RUNS], ["ask", home]):
            subprocess.run([ROOT / "build" / "lineage_bench", *argv], check=True)
        shutil.rmtree(home)


ROWS = {"box": Bench.box, "dirty": Bench.dirty, "memory": Bench.memory, "chain": Bench.chain,
        "loops": Bench.loops, "load": Bench.load, "ingest": Bench.ingest, "publish": Bench.publish,
        "lineage": Bench.lineage}


def unmount_below(path):
    """podman mounts its storage on itself."""
    with open("/proc/self/mounts") as f:
        for at in [x.split()[1] for x in f]:
            if at.startswith(path + "/"):
                subprocess.run(["umount", "-l", at], check=False)


def main():
    # podman makes part of an image's name of it, and takes no underscores at its ends
    work = pathlib.Path(os.environ.get("BENCH_DIR", "/tmp")) / ("b%d" % os.getpid())
    work.mkdir()
    try:
        bench = Bench(work)
        with open("/proc/cpuinfo") as f:
            cpu = [x.split(":")[1].strip() for x in f if x.startswith("model name")]
        print("%d x %s, load %.1f; medians, peak memory of the largest process" % (
            len(cpu), cpu[0] if cpu else os.uname().machine, os.getloadavg()[0]))
        for name in os.environ.get("BENCH_ROWS", ",".join(ROWS)).split(","):
            ROWS[name](bench)
    finally:
        unmount_below(str(work))
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
