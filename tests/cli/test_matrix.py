# SPDX-License-Identifier: Apache-2.0
"""What was enforced, seen from inside the box, against what the record says: cgroup v1, hybrid, v2
without controllers, and none, each for root, an ordinary user with a range of ids, and one with
his own id alone. cgroup v2 with controllers and delegation is tried in the guest of test_vm.py.

The host's cgroup mounts are taken away in a mount namespace of the call.

Case 48 of the security list; tests/mutants/boxes.txt lists the defences that are tested.
"""

import json
import os
import subprocess

import pytest

import matrix
import rootless
from conftest import BIN, Dugout, pipeline, sh

MODES = {
    "hybrid": [],
    "v1": ["umount /sys/fs/cgroup/unified"],
    "v2": ["for m in $(grep ' - cgroup ' /proc/self/mountinfo | cut -d ' ' -f 5); do "
           "umount $m || exit 1; done"],
    "none": ["umount -R /sys/fs/cgroup"],
}
HOST = {"hybrid": "cgroup2 cgroup", "v1": "cgroup", "v2": "cgroup2", "none": ""}

def mounted_types() -> set:
    return {m.split(" - ")[1].split()[0] for m in open("/proc/self/mountinfo")} & {
        "cgroup", "cgroup2"}


@pytest.fixture(scope="module")
def archive(tiny_tar, tmp_path_factory):
    return matrix.archive(tiny_tar, tmp_path_factory.mktemp("matrix"))


class Root:
    """Call the binary as root, with cgroup mounts taken away."""

    kind = "host"

    def __init__(self, home):
        self.d = Dugout(home)

    def __call__(self, *args, prefix=()):
        script = "".join(line + " && " for line in prefix) + 'exec "$@"'
        r = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", BIN, *map(str, args)],
                           env=self.d.env(), capture_output=True, text=True, timeout=300)
        r.rc, r.out, r.err = r.returncode, r.stdout, r.stderr
        return r

    @property
    def home(self):
        return self.d.home

    def file(self, name, text):
        path = self.d.home.parent / name
        path.write_text(text)
        return path


@pytest.fixture(scope="module", params=["root", "range", "one"])
def who(request, archive, tmp_path_factory):
    if request.param == "root":
        if os.geteuid() != 0:
            pytest.skip("not root")
        w = Root(tmp_path_factory.mktemp("root") / "home")
        assert w("image", "import", archive, "--name", "p").rc == 0
        yield w
        return
    w = rootless.make(request.param == "range", archive, "p")
    w.kind = request.param
    yield w
    w.close()


@pytest.mark.parametrize("mode", list(MODES))
def test_48_the_record_is_what_a_box_sees(who, mode, capsys):
    if mode != "none" and not set(HOST[mode].split()) <= mounted_types():
        pytest.skip("this host does not mount " + HOST[mode])
    f = who.file("m.json", matrix.text())
    # the config is the only way to a limit of processes for a run
    config = who.home / "config.yaml"
    config.write_text("pids: 40\n")
    os.chmod(config, 0o644)
    r = who("run", f, "--no-cache", prefix=MODES[mode])
    assert r.rc == 1, r  # the hog fails, one way or the other
    unsaid = r.err.count("this host does not enforce limits on ")
    seen = who("logs", "@latest/look").out
    look, hog = None, None
    for done in sorted((who.home / "runs").glob("*/*.*/result.json"),
                       key=lambda p: p.stat().st_mtime_ns)[-2:]:
        doc = json.loads(done.read_text())
        if json.loads((done.parent / "attempt.json").read_text())["task"] == "look":
            look = doc
        else:
            hog = doc
    said = matrix.check(look, hog, seen, who.kind)
    # once for each set of limits: that of a look, that of a hog
    lacks = [not (said["cpu"] and said["pids"]), not (matrix.enforced(hog)["memory"] and said["pids"])]
    assert unsaid == sum(lacks), r
    assert said["cgroup"] == {"hybrid": said["cgroup"], "v1": "v1", "v2": "v2", "none": "none"}[
        mode] or who.kind != "host"
    if who.kind == "host":
        hog_said = matrix.enforced(hog)
        want = {"hybrid": True, "v1": True, "v2": False, "none": False}[mode]
        assert said["memory"] and hog_said["memory"] == want and said["pids"] == want
    with capsys.disabled():
        if os.environ.get("DUGOUT_TEST_TABLE"):
            print("\n%-6s %-6s %s hog: %s" % (mode, who.kind, json.dumps(said), hog["error"]))


GROW = "x=$(head -c 20000000 /dev/zero | tr '\\0' x); "


def test_without_a_cgroup_memory_is_watched(who):
    limit = {"resources": {"resourceMemoryLimit": "100Mi", "memoryLimit": 0.105}, "image": "p"}
    # what a fork shares with its parent is there once
    fork = "for i in 1 2 3 4 5 6; do (sleep 2; exit 0) & done; wait"
    f = who.file("w.json", pipeline({"hog": {**sh(GROW + "x=$x$x$x$x$x$x$x$x; sleep 600; exit 5"), **limit},
                                     "fork": {**sh(GROW + fork), **limit}}))
    r = who("run", f, "--no-cache", "--retries", "0", "--json", prefix=MODES["none"])
    fork, hog = sorted(json.loads(r.out)["tasks"], key=lambda t: t["name"])
    assert fork["state"] == "SUCCEEDED", fork
    assert hog["state"] == "FAILED" and hog["error"].startswith("out of memory: the limit is 100 MiB (watched"), r
    r = who("box", "--memory", "64Mi", "p", "--", "sh", "-c", GROW + "x=$x$x$x$x$x$x$x; sleep 600; exit 5", prefix=MODES["none"])
    assert r.rc == 137 and "out of memory (watched" in r.err, r


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_nobody_else_can_hold_the_slots_of_root(tmp_path, archive):
    root = Root(tmp_path / "home")
    assert root("image", "import", archive, "--name", "p").rc == 0
    assert root("box", "--memory", "64Mi", "p", "--", "true").rc == 0
    pools = [m.split()[4] + "/dugout" for m in open("/proc/self/mountinfo")
             if m.split(" - ")[1].startswith("cgroup")]
    pools = [p for p in pools if os.path.isdir(p + "/slot-0")]
    for pool in pools:
        assert os.stat(pool).st_mode & 0o777 == 0o700
        r = subprocess.run(["setpriv", "--reuid", "23456", "--clear-groups", "ls", pool],
                           capture_output=True)
        assert r.returncode != 0


@pytest.mark.parametrize("mode", list(MODES))
def test_48_doctor_names_what_is_missing_and_what_to_do(who, mode):
    if mode != "none" and not set(HOST[mode].split()) <= mounted_types():
        pytest.skip("this host does not mount " + HOST[mode])
    r = who("doctor", "--json", prefix=MODES[mode])
    fact = {f["name"]: f for f in json.loads(r.out)}["cgroup"]
    assert fact["value"].split(":")[0] in ("v1", "v2", "hybrid", "none")
    if " not " in " " + fact["value"]:
        assert fact["state"] == "worse"
        assert ("mount" if who.kind == "host" else "boot with cgroup v2") in fact["remedy"]
    note = who("box", "--memory", "64Mi", "--pids", "50", "--cpus", "0.5", "p", "--", "true",
               prefix=MODES[mode])
    lacks = [w for w in ("memory", "pids", "cpu")
             if w in fact["value"].split("not ")[-1].split() and "not " in fact["value"]]
    assert bool(lacks) == ("not enforced here" in note.err), (fact, note)
