# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random instants: engines, supervisors, tasks, gc, imports.

DUGOUT_KILLS=1000 makes it that many (`make kills`). After each kill the work is resumed to its end
and these hold: every task that was reported succeeded is recorded so and its bytes are there; no
row is without bytes; nothing is left mounted, running, in a cgroup or leased.
"""

import json
import os
import random
import signal
import subprocess
import time

from conftest import pipeline, sh, wait_until
from test_house import art, inp

KILLS = int(os.environ.get("DUGOUT_KILLS", "10"))
SEED = int(os.environ.get("DUGOUT_KILLS_SEED", "0")) or random.randrange(1 << 30)


def work(path, salt):
    """Three generations of files and directories, two abreast."""
    make = 'mkdir -p "$(dirname "$0")" "$1/sub"; (echo %s; head -c %d /dev/zero) >"$0"; cp "$0" "$1/sub/f"; echo x >"$1/g"'
    tasks = {}
    for side in "ab":
        tasks["load-" + side] = {**sh(make % (salt + side, 300000), art("file"), art("dir")),
                                 "art_out": {"file": "system.Dataset", "dir": "system.Dataset"}}
        tasks["fit-" + side] = {
            **sh('mkdir -p "$(dirname "$0")"; cat "$1" "$2/sub/f" >"$0"', art("model"), inp("file"), inp("dir")),
            "art_in": {"file": "load-%s.file" % side, "dir": "load-%s.dir" % side},
            "art_out": {"model": "system.Model"}}
    tasks["last"] = {**sh('mkdir -p "$(dirname "$0")"; cat "$1" "$2" >"$0"', art("sum"), inp("a"), inp("b")),
                     "art_in": {"a": "fit-a.model", "b": "fit-b.model"}, "art_out": {"sum": "system.Model"}}
    path.write_text(pipeline(tasks, name="kills"))


def processes_of(home):
    """pid -> command of every process of this home: called with it, or in a box made of it."""
    found = {}
    call, path = ("DUGOUT_HOME=%s\0" % home).encode(), ("%s/" % home).encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                mine = call in f.read() + b"\0"
            with open("/proc/%s/mountinfo" % pid, "rb") as f:
                mine = mine or path in f.read()
            with open("/proc/%s/comm" % pid) as f:
                found.update({int(pid): f.read().strip()} if mine else {})
        except OSError:
            continue
    return found


class Killer:
    def __init__(self, d, tmp, rng):
        self.d, self.tmp, self.rng = d, tmp, rng
        self.tally = {}
        self.killed = 0

    def victims(self, p, what):
        if what == "engine":
            return [p.pid]
        mine = [pid for pid in processes_of(self.d.home) if pid != p.pid]
        pids = set()
        for path in self.d.home.glob("runs/*/*.*/pid"):
            try:
                pids.add(int(path.read_text().split()[0]))
            except (OSError, ValueError, IndexError):
                continue
        supervisors = [x for x in mine if x in pids]
        if what == "supervisor":
            return supervisors
        return [x for x in mine if x not in pids]  # spawner, PID 1 of a box, task, worker of a load

    def kill(self, p, what):
        targets = self.victims(p, what) if p.poll() is None else []
        self.tally[what] = self.tally.get(what, 0) + bool(targets)
        self.killed += bool(targets)
        for pid in self.rng.sample(targets, min(1, len(targets))):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def one_run(self, i):
        f, events = self.tmp / "p.json", self.tmp / "events"
        work(f, "%d-" % i)
        events.write_text("")
        p = self.d.start("run", f, "--events", events, "--jobs", "2", "--quiet")
        gc = None
        if self.rng.random() < 0.3:
            gc = self.d.start("gc", "--grace", "0s", "--keep-runs", "1", "--keep-days", "0")
        time.sleep(self.rng.uniform(0, 0.45))
        self.kill(p, self.rng.choice(["engine", "engine", "supervisor", "supervisor", "other"]))
        if gc and self.rng.random() < 0.5 and gc.poll() is None:
            gc.kill()
            self.tally["gc"] = self.tally.get("gc", 0) + 1
        if gc:
            gc.communicate()
        p.communicate(timeout=300)
        self.check_reported(events)

    def check_reported(self, events):
        done, run = set(), None
        for line in events.read_text().splitlines():
            try:
                e = json.loads(line)
            except ValueError:
                continue  # torn by the kill
            run = e.get("run_id", run)
            if e["event"] == "task" and e["state"] == "SUCCEEDED":
                done.add(e["task"])
        if not run:
            return
        r = self.d("show", run, "--json")
        if r.rc == 3 and not done:
            return  # killed before it was recorded, and nothing was promised
        assert r.rc == 0, r
        tasks = {t["path"]: t for t in r.json["tasks"]}
        for path in done:
            assert tasks[path]["state"] == "SUCCEEDED", (path, r)
            for f in sum(tasks[path]["outputs"]["artifacts"].values(), []):
                assert f["digest"], (path, f)
        if r.json["state"] in ("INTERRUPTED", "FAILED"):
            again = self.d("resume", run)
            assert again.rc == 0, again
        assert self.d.ok("show", run, "--json").json["state"] == "SUCCEEDED"

    def one_gc(self):
        p = self.d.start("gc", "--grace", "0s", "--keep-runs", "0", "--keep-days", "0")
        time.sleep(self.rng.uniform(0, 0.03))
        self.kill(p, "engine")
        p.communicate()
        self.tally["gc"] = self.tally.get("gc", 0) + 1

    def one_import(self, i):
        src = self.tmp / "src"
        (src / "deep").mkdir(parents=True, exist_ok=True)
        for k in range(20):
            (src / "deep" / str(k)).write_text("%d %d" % (i, k) * 200)
        p = self.d.start("artifact", "import", src, "--name", "i%d" % i)
        time.sleep(self.rng.uniform(0, 0.03))
        self.kill(p, "engine")
        p.communicate()

    def one_image(self, tar, i):
        p = self.d.start("image", "import", tar, "--name", "other:%d" % (i % 3))
        time.sleep(self.rng.uniform(0, 0.15))
        self.kill(p, "engine" if self.rng.random() < 0.5 else "other")
        p.communicate()

    def check_home(self):
        wait_until(lambda: not processes_of(self.d.home))
        self.d.ok("gc", "--grace", "0s", "--keep-runs", "1", "--keep-days", "0")
        r = self.d("fsck", "--full", "--json")
        assert r.rc == 0 and r.json["damage"] == 0, r
        with open("/proc/self/mountinfo") as f:
            assert str(self.d.home) not in f.read()
        assert not list((self.d.home / "locks").glob("lease-*"))
        assert not list((self.d.home / "tmp").iterdir())
        again = self.d.ok("gc", "--grace", "0s", "--keep-runs", "1", "--keep-days", "0", "--json").json
        assert sum(x["count"] for x in again["going"].values()) == 0, again


def test_nothing_is_lost_or_left_by_kills_at_random_instants(dugout, tmp_path):
    rng = random.Random(SEED)
    print("seed %d" % SEED)
    other = tmp_path / "other.tar"
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "f").write_bytes(os.urandom(2000000))
    subprocess.run(["tar", "-C", tmp_path / "root", "-cf", other, "."], check=True)
    k = Killer(dugout, tmp_path, rng)
    i = 0
    while k.killed < KILLS:
        i += 1
        kind = rng.random()
        if kind < 0.7:
            k.one_run(i)
        elif kind < 0.8:
            k.one_gc()
        elif kind < 0.9:
            k.one_import(i)
        else:
            k.one_image(other, i)
        if i % 8 == 0:
            k.check_home()
        if i % 50 == 0:
            print(i, k.killed, k.tally, flush=True)
    k.check_home()
    print("%d rounds, %d kills: %s" % (i, k.killed, k.tally))


def test_gc_beside_four_pipelines_takes_nothing_that_is_needed(dugout, tmp_path):
    """gc with no grace, over and over, while four pipelines store, meet and reuse the same contents.

    DUGOUT_RACE_S=60 makes it that long."""
    end = time.monotonic() + float(os.environ.get("DUGOUT_RACE_S", "3"))
    files = [tmp_path / ("p%d.json" % i) for i in range(6)]
    for i, f in enumerate(files):
        work(f, "%d-" % (i // 2))  # pairs make equal contents
    running, runs, sweeps, freed = [], 0, 0, 0
    while time.monotonic() < end or running:
        for p in [p for p in running if p.poll() is not None]:
            out, err = p.communicate()
            assert p.returncode == 0, err
            running.remove(p)
            runs += 1
        while len(running) < 4 and time.monotonic() < end:
            flags = random.choice([[], [], ["--no-cache"]])
            running.append(dugout.start("run", random.choice(files), "--quiet", "--jobs", "2", *flags))
        done = dugout.ok("gc", "--grace", "0s", "--keep-runs", "0", "--keep-days", "0", "--json").json
        freed += done["blobs"]["count"] + done["checkouts"]["count"]
        sweeps += 1
        if sweeps % 10 == 0:
            r = dugout("fsck", "--json")
            assert r.rc in (0, 75), r
    print("%d runs, %d sweeps, %d contents taken" % (runs, sweeps, freed))
    assert runs > 0 and freed > 0
    assert dugout.ok("fsck", "--full", "--json").json["damage"] == 0
