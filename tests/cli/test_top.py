# SPDX-License-Identifier: Apache-2.0
"""top: what runs now, what it uses, and what waits for what."""

import json
import os
import pty
import signal
import termios
import time

import pytest

import gputree
import rootless
from conftest import BIN, pipeline, sh, wait_until
from test_home import GID, MEMBER, Etc, base  # noqa: F401: base is a fixture

MIB = 1 << 20
HOLD = "until [ -e /m/go ]; do sleep 0.1; done"


def top(d):
    return d.ok("top", "--json").json


def tasks(d, state="RUNNING"):
    return {t["path"]: t for r in top(d)["runs"] for t in r["tasks"] if t["state"] == state}


def running(d, *paths):
    """These tasks, once all of them have a box."""
    def look():
        found = tasks(d)
        return all(found.get(p, {}).get("phase") == "running" for p in paths) and found
    return wait_until(look)


def waiting(d, path):
    return wait_until(lambda: tasks(d, "PENDING").get(path))


@pytest.fixture
def start(dugout, tmp_path):
    """Start runs whose tasks see /m; at the end they are let go."""
    m = tmp_path / "m"
    m.mkdir()
    left = []

    def start_(what, *flags, name="r", **kw):
        path = tmp_path / (name + ".json")
        path.write_text(what if isinstance(what, str) else pipeline(what, **kw))
        left.append(dugout.start("run", path, "--name", name, "--no-cache", "-v",
                                 "%s:/m:rw" % m, *flags))
        return left[-1]

    start_.m = m
    yield start_
    (m / "go").touch()
    for p in left:
        p.terminate()
        p.communicate(timeout=300)


def enforced(d, what):
    return {r["name"]: r for r in d.ok("doctor", "--json").json}.get(what, {}).get("state") == "good"


def test_nothing_runs(dugout):
    doc = top(dugout)
    assert (doc["runs"], doc["waiting_runs"], doc["boxes"]) == ([], [], [])
    assert doc["memory_promised_bytes"] == 0 < doc["memory_budget_bytes"]
    assert "nothing runs" in dugout.ok("top").out


def test_a_task_that_runs_is_there_with_what_it_uses(dugout, start):
    start({"t": sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=40; sleep 600 & sleep 600 & touch /m/up; "
                   + HOLD)}, "--memory", "128Mi")
    wait_until((start.m / "up").exists)
    t = running(dugout, "t")["t"]
    assert (t["attempt"], t["gpus"]) == (1, [])
    assert 3 <= t["pids"] <= 5  # the shell, two sleeps, its own short ones
    assert t["memory_bytes"] > 40 * MIB or not enforced(dugout, "cgroups")
    if t["memory_limit_bytes"]:  # where the kernel holds it
        assert t["memory_limit_bytes"] == 128 * MIB
        assert 40 * MIB < t["memory_bytes"] <= 128 * MIB
    if t["peak_memory_bytes"] is not None:
        assert t["memory_bytes"] <= t["peak_memory_bytes"] <= 128 * MIB
    (run,) = top(dugout)["runs"]
    assert (run["name"], run["state"], run["engine"], run["tasks_total"]) == ("r", "RUNNING", True, 1)
    assert top(dugout)["memory_promised_bytes"] == 128 * MIB
    out = dugout.ok("top").out
    (line,) = [x for x in out.splitlines() if x.startswith("r ")]
    assert line.split()[:3] == ["r", "t", "running"], out
    # numbers of a box that used the cgroup before are not this one's
    (start.m / "go").touch()
    wait_until(lambda: not top(dugout)["runs"])
    (start.m / "go").unlink()
    start({"small": sh(HOLD)}, name="s")
    t = running(dugout, "small")["small"]
    assert t["memory_bytes"] < 20 * MIB and (t["peak_memory_bytes"] or 0) < 20 * MIB


def test_cpu_time_counts_that_of_processes_that_have_ended(dugout, start):
    start({"t": sh("(i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done); touch /m/up; " + HOLD)})
    wait_until((start.m / "up").exists)
    t = running(dugout, "t")["t"]
    assert t["cpu_seconds"] > 0.05 and t["cpu_percent"] > 0, t


def test_a_command_of_box_is_there(dugout):
    p = dugout.start("box", "--memory", "64Mi", "tiny", "--", "sleep", "600")
    try:
        (b,) = wait_until(lambda: [b for b in top(dugout)["boxes"] if b["pids"] == 1])  # past its start
        assert b["pid"] == p.pid and b["command"].endswith("tiny -- sleep 600")
        assert b["memory_bytes"] > 0
        assert "box %d" % p.pid in dugout.ok("top").out
    finally:
        p.terminate()
        p.communicate(timeout=300)
    assert top(dugout)["boxes"] == []


# ---- what waits -----------------------------------------------------------------------------------


def test_a_task_waits_for_a_job(dugout, start):
    start({"a": {**sh(HOLD)}, "b": sh("true"), "c": {**sh("true"), "after": ["b"]}}, "--jobs", "1")
    running(dugout, "a")
    b = waiting(dugout, "b")
    assert (b["waits_for"], b["amount"], b["reason"]) == ("slot", 1, "for one of 1 jobs")
    assert "c" not in tasks(dugout, "PENDING")  # it waits for b, which is no lack of anything
    assert [x for x in dugout.ok("top").out.splitlines() if x.endswith("for one of 1 jobs")]
    (start.m / "go").touch()
    wait_until(lambda: not top(dugout)["runs"])
    wait_until(lambda: not list(dugout.home.glob("runs/*/waiting")))  # the engine's last act


def test_a_task_waits_for_the_cpus_that_others_of_its_run_have(dugout, start):
    all_of_them = {"cpuLimit": float(os.cpu_count())}
    start({"a": {**sh(HOLD), "resources": all_of_them}, "b": {**sh(HOLD), "resources": all_of_them}},
          "--jobs", "4")
    t = waiting(dugout, "a" if "b" in wait_until(lambda: tasks(dugout)) else "b")
    assert (t["waits_for"], t["amount"]) == ("cpu", 1000 * os.cpu_count())


def test_a_task_waits_for_the_memory_that_another_run_has(dugout, start):
    most = top(dugout)["memory_budget_bytes"] * 6 // 10 // MIB * MIB
    start({"a": sh(HOLD)}, "--memory", str(most), name="one")
    running(dugout, "a")
    start({"b": sh("true")}, "--memory", str(most), name="two")
    t = waiting(dugout, "b")
    assert (t["waits_for"], t["amount"]) == ("memory", most)
    assert "of memory: " in t["reason"] and t["reason"].endswith("are promised")
    assert top(dugout)["memory_promised_bytes"] == most
    (start.m / "go").touch()
    wait_until(lambda: dugout.states("two") == {"b": "SUCCEEDED"})


def test_a_task_waits_for_its_next_attempt(dugout, start):
    start({"t": {**sh("exit 1"), "retry": {"maxRetryCount": 2, "backoffDuration": "600s"}}})
    t = waiting(dugout, "t")
    assert t["waits_for"] == "retry" and t["reason"].startswith("for its next attempt, in ")
    assert 0 < t["amount"] / 1000 - time.time() <= 600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make device nodes")
def test_a_task_waits_for_gpus_and_who_has_them_is_said(dugout, start, tmp_path):
    tree = gputree.nvidia(tmp_path / "machine")
    (dugout.home / "config.yaml").write_text("gpu_root: %s\n" % tree.root)

    def task(count):
        return {**sh(HOLD), "resources": {"accelerator": {"resourceType": "nvidia.com/gpu",
                                                          "resourceCount": count}}}
    start({"a": task("2")}, name="one")
    assert running(dugout, "a")["a"]["gpus"] == gputree.UUID[:2]
    start({"b": task("1")}, name="two")
    t = waiting(dugout, "b")
    assert (t["waits_for"], t["amount"], t["reason"]) == ("gpu", 1, "for 1 GPU")
    doc = top(dugout)
    assert [(g["state"], g["reason"]) for g in doc["gpus"]] == [("in use", "run one task a")] * 2
    assert doc["gpu_queue"] == 1
    out = dugout.ok("top").out
    assert "nvidia:0 nvidia:1" in out and "GPU nvidia:1 in use: run one task a" in out, out
    (start.m / "go").touch()
    wait_until(lambda: dugout.states("two") == {"b": "SUCCEEDED"})
    assert top(dugout)["gpu_queue"] == 0


def test_a_run_waits_for_a_mutex_and_its_holder_is_named(dugout, start):
    spec = "# pipeline\n" + pipeline({"t": sh(HOLD)}) + "\n---\n" + json.dumps(
        {"platforms": {"kubernetes": {"pipelineConfig": {"mutexName": "only\none"}}}})
    start(spec, name="one")
    running(dugout, "t")
    two = start(spec, name="two")
    (w,) = wait_until(lambda: top(dugout)["waiting_runs"])
    assert (w["waits_for"], w["key"], w["held_by"]) == ("mutex", "only?one", "one")
    assert len(w["name"]) and w["name"] == "two"
    assert "for mutex only?one, which is held by one" in dugout.ok("top").out
    two.kill()  # nothing has to be cleaned up by hand
    wait_until(lambda: not top(dugout)["waiting_runs"])
    assert not list(dugout.home.glob("locks/wait-*"))


# ---- without an engine, as somebody else ----------------------------------------------------------


def test_tasks_whose_engine_was_killed_are_there(dugout, start):
    p = start({"t": sh(HOLD)})
    running(dugout, "t")
    p.kill()
    p.communicate()
    (run,) = wait_until(lambda: [r for r in top(dugout)["runs"] if not r["engine"]])
    assert run["state"] == "INTERRUPTED" and [t["path"] for t in run["tasks"]] == ["t"]
    assert "its engine is gone: dugout resume" in dugout.ok("top").out
    (start.m / "go").touch()
    wait_until(lambda: not top(dugout)["runs"])


@pytest.mark.skipif(os.geteuid() != 0, reason="a home with a group is made by root")
def test_a_reader_of_the_home_sees_it_too(base, tiny_tar):  # noqa: F811
    etc = Etc(base)
    etc.ok("image", "import", tiny_tar, "--name", "tiny")
    (base / "p.json").write_text(pipeline({"t": sh("sleep 600"), "u": sh("sleep 600")}))
    etc.ok("run", "-d", "--jobs", "1", "--name", "r", base / "p.json")
    try:
        def look():
            r = etc.ok("top", "--json", uid=MEMBER, groups=[GID])
            (run,) = json.loads(r.out)["runs"] or [{"tasks": []}]
            found = {t["state"]: t for t in run["tasks"]}
            return found if found.get("RUNNING", {}).get("phase") == "running" and len(found) == 2 else None
        found = wait_until(look)
        assert found["PENDING"]["waits_for"] == "slot"
        t = found["RUNNING"]
        assert t["cpu_seconds"] is not None and t["memory_bytes"] > 0 and t["pids"] == 1
    finally:
        etc.ok("cancel", "r")
        wait_until(lambda: not json.loads(etc.ok("top", "--json").out)["runs"])


@pytest.mark.skipif(os.geteuid() != 0, reason="the test becomes a user of its own")
def test_a_user_without_cgroups_sees_what_processes_tell(tiny_tar):
    user = rootless.make(False, tiny_tar, "tiny")
    try:
        user.ok("run", "-d", "--name", "r", user.file("p.json", pipeline({"t": sh("sleep 600")})))

        def look():
            runs = json.loads(user.ok("top", "--json").out)["runs"]
            return [t for r in runs for t in r["tasks"] if t.get("phase") == "running"]
        (t,) = wait_until(look)
        assert t["pids"] == 1 and t["memory_bytes"] > 0 and t["cpu_seconds"] is not None
        user.ok("cancel", "r")
        wait_until(lambda: not json.loads(user.ok("top", "--json").out)["runs"])
    finally:
        user.close()


# ---- on a terminal --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_on_a_terminal_it_is_drawn_again_until_a_key_ends_it(dugout, start, key):
    start({"t": sh(HOLD)})
    running(dugout, "t")
    new = pty.openpty()  # what any terminal begins with: that of `top` is not as it was for long
    was = termios.tcgetattr(new[0])
    for fd in new:
        os.close(fd)
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(BIN, [BIN, "top"], dugout.env(TERM="xterm"))
    seen = b""
    while seen.count(b"\x1b[H") < 3:
        seen += os.read(fd, 65536)
    assert not termios.tcgetattr(fd)[3] & termios.ICANON
    os.write(fd, key)
    try:
        while True:
            more = os.read(fd, 65536)
            if not more:
                break
            seen += more
            if seen.endswith(b"\x1b[?1049l"):
                break
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert termios.tcgetattr(fd)[3] == was[3]
    os.close(fd)
    assert seen.startswith(b"\x1b[?1049h") and seen.rstrip().endswith(b"\x1b[?1049l")
    assert b"r    t     running" in seen


def test_once_prints_one_table_on_a_terminal_too(dugout):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(BIN, [BIN, "top", "--once"], dugout.env(TERM="xterm"))
    seen = b""
    try:
        while True:
            more = os.read(fd, 65536)
            if not more:
                break
            seen += more
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(fd)
    assert b"nothing runs" in seen and b"\x1b" not in seen


def test_it_changes_nothing(dugout, start):
    start({"a": sh(HOLD), "b": sh("true")}, "--jobs", "1")
    running(dugout, "a")
    waiting(dugout, "b")

    def files():
        return {p: p.stat().st_mtime_ns for p in dugout.home.rglob("*")
                if p.is_file() and not p.name.endswith(("-shm", "-wal"))}
    before = files()
    top(dugout)
    dugout.ok("top")
    assert files() == before


def test_sigterm_ends_it_with_the_screen_as_it_was(dugout):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(BIN, [BIN, "top"], dugout.env(TERM="xterm"))
    seen = b""
    while b"nothing runs" not in seen:
        seen += os.read(fd, 65536)
    os.kill(pid, signal.SIGTERM)
    try:
        while not seen.endswith(b"\x1b[?1049l"):
            seen += os.read(fd, 65536)
    except OSError:
        pass
    os.waitpid(pid, 0)
    os.close(fd)
    assert seen.rstrip().endswith(b"\x1b[?1049l")
