# SPDX-License-Identifier: Apache-2.0
"""Limits of a box: each is kept, and its name is in the verdict."""

import os
import pathlib
import subprocess
import time

import pytest

from conftest import PATIENCE, ever_longer, out_param, pipeline, sh, wait_until


def run_one(d, tmp_path, script, *flags, **task):
    (tmp_path / "p.json").write_text(pipeline({"t": {**sh(script), **task}}))
    r = d("run", tmp_path / "p.json", "--no-cache", "--json", *flags)
    return r, r.json["tasks"][0]


def test_a_task_that_takes_too_long_is_stopped_and_may_be_tried_again(dugout, tmp_path):
    seen = []

    def call(timeout):
        script = 'trap "echo bye; exit 9" TERM; echo up; sleep %d & wait' % PATIENCE
        r, t = run_one(dugout, tmp_path, script, "--task-timeout", timeout,
                       retry={"maxRetryCount": 1, "backoffDuration": "0s"})
        seen.append((r, t, timeout))
        return dugout.ok("logs", "@latest/t").out

    log = ever_longer(call, lambda log: "up" in log, first=0.5)
    r, t, timeout = seen[-1]
    assert r.rc == 1 and t["attempts"] == 2
    assert t["error"].startswith("stopped: the task's time-out of %s" % timeout[:-1]), t
    assert t["exit_code"] == 9 and "bye" in log


def test_the_run_s_time_out_is_another(dugout, tmp_path):
    r, t = run_one(dugout, tmp_path, "sleep 600", "--timeout", "500ms", "--task-timeout", "50s")
    assert r.rc == 124 and "the run's time-out" in t["error"]


def test_who_ignores_the_stop_is_killed_after_the_grace(dugout, tmp_path):
    (dugout.home / "config.yaml").write_text("grace: 300ms\ntask_timeout: 300ms\n")
    took = []
    while not took or min(took) >= 9:  # without the config it were ten seconds at least
        assert len(took) < 5, took
        begun = time.monotonic()
        r, t = run_one(dugout, tmp_path, 'trap "" TERM; sleep 600 & sleep 600; sleep 600')
        took.append(time.monotonic() - begun)
        assert r.rc == 1 and "time-out of 0.3 s" in t["error"]


def test_a_box_is_stopped_as_well(dugout):
    r = dugout("box", "--timeout", "300ms", "tiny", "--", "sleep", "600")
    assert r.rc == 124 and "time-out" in r.err, r


@pytest.mark.parametrize("where", ["/x", "/minio/x", "/params"])
def test_who_writes_too_much_is_stopped(dugout, tmp_path, where):
    script = ('f=$(dirname "$0")/x; [ /params = "$1" ] || f=$1; mkdir -p "$(dirname "$f")"; '
              'head -c 40000000 /dev/zero >"$f"; sleep %d' % PATIENCE)
    (tmp_path / "p.json").write_text(pipeline({"t": {
        "command": ["sh", "-c", script, out_param("o"), where], "out": {"o": "STRING"}}}))
    r = dugout("run", tmp_path / "p.json", "--json", "--disk", "20Mi")
    assert r.rc == 1, r
    assert r.json["tasks"][0]["error"] == "stopped: it wrote more than its limit of 20.0 MiB on disk"


def test_who_writes_less_is_not(dugout, tmp_path):
    r, t = run_one(dugout, tmp_path, "head -c 10000000 /dev/zero >/x; sleep 1", "--disk", "20Mi")
    assert r.rc == 0, t
    # nor does a volume count
    r = dugout("box", "--disk", "5Mi", "-v", "%s:/v:rw" % tmp_path, "tiny", "--", "sh", "-c",
               "head -c 20000000 /dev/zero >/v/x; sleep 1")
    assert r.rc == 0, r


def test_a_box_that_writes_too_much_is_stopped(dugout):
    r = dugout("box", "--disk", "5Mi", "tiny", "--", "sh", "-c",
               "head -c 20000000 /dev/zero >/x; sleep 600")
    assert r.rc == 143 and "limit on disk" in r.err, r


def shm_kib(r) -> int:
    return int(r.out.split()[-5])


def test_dev_shm_has_the_size_asked_for(dugout):
    df = ["tiny", "--", "df", "-k", "/dev/shm"]
    assert shm_kib(dugout.ok("box", "--shm-size", "7Mi", *df)) == 7 << 10
    assert shm_kib(dugout.ok("box", "--memory", "64Mi", *df)) == 32 << 10
    (dugout.home / "config.yaml").write_text("shm: 9Mi\n")
    assert shm_kib(dugout.ok("box", *df)) == 9 << 10
    r = dugout("box", "tiny", "--", "sh", "-c", "head -c 20000000 /dev/zero >/dev/shm/x")
    assert r.rc != 0


def test_a_cpu_limit_is_a_limit(dugout, tmp_path):
    facts = {f["name"]: f for f in dugout.ok("doctor", "--json").json}
    if "cpu" not in facts["cgroup"]["value"].split(" not ")[0].split():
        pytest.skip("no limit on cpu here")
    script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; read a b </proc/uptime; echo $a"
    free, held = [run_one(dugout, tmp_path, script, *flags)[1]
                  for flags in ([], ["--cpus", "0.1"])]
    assert held["state"] == "SUCCEEDED"

    def seconds(t):
        from datetime import datetime
        return (datetime.fromisoformat(t["finished"].rstrip("Z"))
                - datetime.fromisoformat(t["started"].rstrip("Z"))).total_seconds()

    # what it used is the same, and a tenth of a CPU takes at least five times as long
    assert seconds(held) > 5 * held["cpu_seconds"] * 0.9, (free, held)


HOLE = 'mkdir -p "$(dirname "$0")"; dd if=/dev/null of="$0" bs=1M seek=8M || exit 9'


def hole(write):
    return write({"t": {**sh(HOLE, "{{$.outputs.artifacts['o'].path}}"),
                        "art_out": {"o": "system.Artifact"}}})


@pytest.mark.parametrize("times", [1, 2])
def test_who_is_canceled_while_outputs_are_read_ends(dugout, write, times):
    p = dugout.start("run", hole(write), "--retries", "0")

    def reads():
        """The task has ended and its supervisor reads what it left."""
        for pid in dugout.home.glob("runs/*/*/pid"):
            supervisor = pid.read_text().split()[0]
            try:
                fds = [os.readlink(f) for f in pathlib.Path("/proc/%s/fd" % supervisor).iterdir()]
            except OSError:
                return False
            return any("/io/out/" in f for f in fds)
        return False

    wait_until(lambda: reads() or p.poll() is not None)
    if "exit code 9" in dugout("show", "@latest/t").out:
        pytest.skip("no file of 8 TiB can be made here")
    for _ in range(times):
        p.terminate()
        time.sleep(0.2)  # two that come as one are one: then the grace passes
    assert p.wait(timeout=300) == 143
    assert dugout.states() == {"t": "CANCELED"}


def test_the_run_s_time_out_counts_while_outputs_are_read(dugout, write):
    r = dugout("run", hole(write), "--timeout", "2s")
    assert r.rc == 124 or "exit code 9" in r.err, r
    assert "PENDING" not in dugout.states().values() and "RUNNING" not in dugout.states().values()


def test_a_limit_on_cpu_ends_with_its_box(dugout, write):
    """The next box of the slot asks for a part of the CPUs beside others, and for no limit."""
    tree = pathlib.Path("/sys/fs/cgroup/cpu")
    if not (tree / "cpu.shares").exists():
        pytest.skip("no v1 controller of cpu here")
    dugout.ok("box", "--cpus", "0.1", "tiny", "--", "true")
    dugout.start("run", write({"t": {**sh("exec sleep 600"), "resources": {"cpuRequest": 0.5}}}),
                 "--no-cache")

    def slot():
        for pid in dugout.home.glob("runs/*/*/pid"):
            supervisor = pid.read_text().split()[0]
            children = pathlib.Path("/proc/%s/task/%s/children" % (supervisor, supervisor)).read_text()
            for child in children.split():
                mine = pathlib.Path("/proc/%s/cgroup" % child).read_text()
                found = [x.split(":")[2] for x in mine.splitlines() if x.split(":")[1] == "cpu"]
                if found and "/slot-" in found[0]:
                    return tree / found[0].lstrip("/")
        return None

    slot = wait_until(slot)
    assert (slot / "cpu.shares").read_text() == "512\n"
    assert (slot / "cpu.cfs_quota_us").read_text() == "-1\n"


def test_what_a_box_left_on_a_tmpfs_does_not_count_for_the_next(dugout, tmp_path):
    facts = {f["name"]: f for f in dugout.ok("doctor", "--json").json}
    if "memory" not in facts["cgroup"]["value"].split(" not ")[0].split():
        pytest.skip("no limit on memory here")
    where = tmp_path / "t"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "t", where]).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        dugout.ok("box", "-v", "%s:/t:rw" % where, "tiny", "--", "sh", "-c",
                  "head -c 120000000 /dev/zero >/t/x")
        hog = "head -c 200000000 /dev/zero | tail -c 199999999 >/dev/null"
        for script, rc in (("true", 0), (hog, 137)):
            r = dugout("box", "--memory", "64Mi", "tiny", "--", "sh", "-c", script)
            assert "not enforced" not in r.err and r.rc == rc, r
    finally:
        subprocess.run(["umount", where], check=True)


@pytest.mark.parametrize("line", ["cpus: many", "cpus: 0", "disk: x", "log: 1", "grace: -1s",
                                  "task_timeout: soon", "pids: -1", "shm: [1]"])
def test_a_wrong_limit_in_the_config_is_refused(dugout, line):
    (dugout.home / "config.yaml").write_text("jobs: 1\n" + line + "\n")
    r = dugout("images")
    assert r.rc == 2 and "config.yaml:2" in r.err, r
