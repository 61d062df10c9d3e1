# SPDX-License-Identifier: Apache-2.0
"""Engines that die, supervisors that go on, and who finishes the work."""

import os
import re
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from conftest import BIN, is_gone, out_param, sh, wait_until


@pytest.fixture
def shared_dir(tmp_path):
    d = tmp_path / "shared"
    d.mkdir()
    return d


@pytest.fixture
def slow(write):
    """Two steps; the first waits for the file `go`, both leave a line in `count`."""
    return write({
        "a": {**sh('echo a >>/m/begun; while [ ! -e /m/go ]; do sleep 0.1; done; echo a >>/m/count;'
                   ' mkdir -p "$(dirname "$0")"; printf done >"$0"', out_param("out")),
              "out": {"out": "STRING"}},
        "b": {**sh("echo b >>/m/count"), "inp": {"text": "a.out"}},
    }, name="slow")


def begin(dugout, slow, shared_dir):
    """Start the pipeline and wait until its first step runs; gives the engine."""
    p = dugout.start("run", slow, "-v", "%s:/m:rw" % shared_dir)
    wait_until(lambda: (shared_dir / "begun").exists() or p.poll() is not None)
    assert p.poll() is None, p.communicate()
    return p


def kill_engine(p):
    p.send_signal(signal.SIGKILL)
    p.wait(300)


def spawner_of(p) -> int:
    children = Path("/proc/%d/task/%d/children" % (p.pid, p.pid)).read_text().split()
    (spawner,) = [int(c) for c in children
                  if Path("/proc/%s/comm" % c).read_text().startswith("dugout-spawner")]
    return spawner


def attempt_dir(dugout):
    return next((dugout.home / "runs").glob("*/*.1"))


def supervisor_pid(dugout):
    return int((attempt_dir(dugout) / "pid").read_text().split()[0])


def days_later(home, days):
    """Set every time that the home keeps, in files and in the database, back by some days."""
    past = time.time() - days * 86400
    for path in home.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (past, past))
    db = sqlite3.connect(home / "dugout.db")
    with db:
        for (table,) in db.execute("select name from sqlite_schema where type = 'table'").fetchall():
            for column in [c[1] for c in db.execute("pragma table_info(%s)" % table)]:
                if column.endswith("_ms"):
                    db.execute("update %s set %s = %s - ?" % (table, column, column),
                               (days * 86400 * 1000,))
    db.close()


def locks_held(home):
    """Lock files of a home that somebody holds."""
    found = [*home.glob("runs/*/lock"), *home.glob("runs/*/*/lock"), *home.glob("locks/*"),
             home / "db.wlock"]
    assert len(found) >= 4
    return [p for p in found if subprocess.run(["flock", "-n", p, "true"]).returncode]


def test_a_result_left_by_a_dead_engine_is_committed_once(dugout, slow, shared_dir):
    kill_engine(begin(dugout, slow, shared_dir))
    run = dugout.ok("runs", "--json").json[0]
    assert run["state"] == "INTERRUPTED"
    assert dugout.states()["a"] == "RUNNING"
    (shared_dir / "go").touch()
    wait_until(lambda: (attempt_dir(dugout) / "result.json").exists())
    days_later(dugout.home, 3)
    dugout.ok("gc", "--grace", "0s", "--keep-runs", "0", "--keep-days", "0")
    assert dugout.states()["a"] == "SUCCEEDED"
    wrap = ["unshare", "-pf", "--mount-proc"]
    if os.geteuid() != 0 or subprocess.run(wrap + ["true"], capture_output=True).returncode:
        wrap = []
    both = [
        subprocess.Popen(wrap + [BIN, "resume", run["name"]], env=dugout.env(),
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [(p.communicate(timeout=300), p.returncode) for p in both]
    codes = sorted(code for _, code in ends)
    assert codes[0] == 0 and codes[1] in (2, 75), ends
    assert (shared_dir / "count").read_text() == "a\nb\n"
    doc = dugout.ok("show", run["run_id"], "--json").json
    assert doc["state"] == "SUCCEEDED"
    assert [t["attempts"] for t in doc["tasks"]] == [1, 1]
    assert locks_held(dugout.home) == []


def test_an_order_left_in_the_spawner_is_not_carried_out_after_a_resume(dugout, slow, shared_dir):
    p = begin(dugout, slow, shared_dir)
    spawner = spawner_of(p)
    os.kill(spawner, signal.SIGSTOP)
    (shared_dir / "go").touch()
    wait_until(lambda: dugout.states()["b"] == "RUNNING")
    kill_engine(p)
    assert dugout.states()["b"] == "PENDING"  # nobody has it: given up
    os.kill(spawner, signal.SIGCONT)
    wait_until(lambda: is_gone(spawner))
    time.sleep(0.3)  # a step that it began all the same would show by now, or later
    assert (shared_dir / "count").read_text() == "a\n"
    dugout.ok("resume", "@latest")
    assert (shared_dir / "count").read_text() == "a\nb\n"


@pytest.mark.parametrize("wait_ms", [5, 15, 25, 35, 45, 60, 80])
def test_engines_killed_again_and_again_run_every_step_once(dugout, write, shared_dir, wait_ms):
    tasks = {}
    for i in range(4):
        tasks["t%d" % i] = sh("echo t%d >>/m/count" % i)
        if i:
            tasks["t%d" % i]["after"] = ["t%d" % (i - 1)]
    call = ["run", write(tasks), "-v", "%s:/m:rw" % shared_dir]
    for _ in range(4):
        p = dugout.start(*call)
        time.sleep(wait_ms / 1000)
        kill_engine(p)
        if dugout.ok("runs", "--json").json:
            call = ["resume", "@latest"]
    p = dugout(*call)
    assert p.rc in (0, 2), p  # 2: the last of the killed ones had finished
    assert (shared_dir / "count").read_text() == "t0\nt1\nt2\nt3\n"
    assert dugout.ok("show", "@latest", "--json").json["state"] == "SUCCEEDED"
    assert locks_held(dugout.home) == []


def blocked(pid) -> int:
    """Mask of the signals that a process has blocked."""
    return int(re.search(r"SigBlk:\s*(\w+)", Path("/proc/%d/status" % pid).read_text()).group(1), 16)


def test_a_stop_waits_for_a_supervisor_that_has_just_been_born(dugout, slow, shared_dir):
    p = begin(dugout, slow, shared_dir)
    for pid in (spawner_of(p), supervisor_pid(dugout)):
        assert blocked(pid) >> (signal.SIGTERM - 1) & 1


def test_a_resume_adopts_a_supervisor_that_still_lives(dugout, slow, shared_dir):
    kill_engine(begin(dugout, slow, shared_dir))
    said = dugout.home.parent / "said"
    with open(said, "w") as f:
        p = dugout.start("resume", "@latest", stderr=f)
    wait_until(lambda: "adopted" in said.read_text())
    (shared_dir / "go").touch()
    assert p.wait(300) == 0, said.read_text()
    assert (shared_dir / "count").read_text() == "a\nb\n"
    assert (shared_dir / "begun").read_text() == "a\n"


def test_a_second_run_is_told_of_orphans_and_cancel_stops_them(dugout, slow, shared_dir, write):
    kill_engine(begin(dugout, slow, shared_dir))
    other = write({"t": sh("true")}, name="slow")
    r = dugout.ok("run", other)
    assert "still run" in r.err and "cancel" in r.err
    name = [x["name"] for x in dugout.ok("runs", "--json").json if x["state"] == "INTERRUPTED"][0]
    dugout.ok("cancel", name)
    assert dugout.ok("show", name, "--json").json["state"] == "CANCELED"
    (shared_dir / "go").touch()
    time.sleep(0.5)  # it looks for the file five times in that
    assert not (shared_dir / "count").exists()


def test_cancel_stops_a_living_engine(dugout, slow, shared_dir):
    p = begin(dugout, slow, shared_dir)
    dugout.ok("cancel", "@latest")
    assert p.wait(300) == 128 + signal.SIGTERM
    assert dugout.ok("show", "@latest", "--json").json["state"] == "CANCELED"


def test_a_killed_supervisor_takes_its_box_along_and_the_host_is_blamed(dugout, slow, shared_dir):
    p = begin(dugout, slow, shared_dir)
    os.kill(supervisor_pid(dugout), signal.SIGKILL)
    wait_until(lambda: (shared_dir / "begun").read_text() == "a\na\n")
    (shared_dir / "go").touch()
    out, err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    task = dugout.ok("show", "@latest", "--json").json["tasks"][0]
    assert task["attempts"] == 2 and task["host_failures"] == 1
    assert (shared_dir / "count").read_text() == "a\nb\n"


def test_resume_all_continues_what_was_interrupted(dugout, slow, shared_dir):
    kill_engine(begin(dugout, slow, shared_dir))
    (shared_dir / "go").touch()
    dugout.ok("resume", "--all")
    assert dugout.states() == {"a": "SUCCEEDED", "b": "SUCCEEDED"}


def test_a_failed_run_is_resumed_where_it_failed(dugout, write, shared_dir):
    f = write({"a": sh("echo a >>/m/count"),
               "b": {**sh("echo b >>/m/count; [ -e /m/mended ]"), "after": ["a"]}})
    assert dugout("run", f, "-v", "%s:/m:rw" % shared_dir).rc == 1
    (shared_dir / "mended").touch()
    dugout.ok("resume", "@latest")
    assert (shared_dir / "count").read_text() == "a\nb\nb\n"


@pytest.fixture
def unit():
    """Cgroups as systemd has them for a unit, in each tree that it knows units by."""
    if os.geteuid() != 0:
        pytest.skip("only root can make cgroups")
    with open("/proc/self/mountinfo") as f:
        tops = [line.split()[4] for line in f
                if " - cgroup2 " in line or ("- cgroup " in line and "name=systemd" in line)]
    dirs = [Path(top) / ("dugout-test-%d.service" % os.getpid()) for top in tops]
    try:
        for d in dirs:
            d.mkdir()
    except OSError as error:
        pytest.skip("cgroups cannot be made here: %s" % error)
    if not dirs:
        pytest.skip("no cgroup tree of systemd's is mounted")
    yield dirs
    for d in dirs:
        for pid in (d / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: not (d / "cgroup.procs").read_text())
        d.rmdir()


def test_a_stopped_unit_does_not_take_its_boxes_along(dugout, slow, shared_dir, unit):
    enter = "; ".join("echo $$ >%s/cgroup.procs" % d for d in unit)
    subprocess.Popen(["sh", "-c", enter + '; exec "$@"', "sh", BIN, "run", str(slow), "-v",
                      "%s:/m:rw" % shared_dir], env=dugout.env(), stderr=subprocess.DEVNULL)
    wait_until((shared_dir / "begun").exists)
    pids = {int(pid) for d in unit for pid in (d / "cgroup.procs").read_text().split()}
    assert pids and supervisor_pid(dugout) not in pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    (shared_dir / "go").touch()
    wait_until(lambda: dugout.states()["a"] == "SUCCEEDED")
    assert dugout.ok("runs", "--json").json[0]["state"] == "INTERRUPTED"
    dugout.ok("resume", "@latest")
    assert (shared_dir / "count").read_text() == "a\nb\n"


def test_no_supervisor_holds_the_database_and_no_box_a_stray_descriptor(dugout, slow, shared_dir):
    p = begin(dugout, slow, shared_dir)
    pid = supervisor_pid(dugout)
    held = [os.readlink(f.path) for f in os.scandir("/proc/%d/fd" % pid)]
    assert not [x for x in held if "dugout.db" in x or "db.wlock" in x], held
    assert not [x for x in held if x.endswith("/lock") and x.count("/runs/") and
                not re.search(r"/\d+\.\d+/lock$", x)], held
    (shared_dir / "go").touch()
    assert p.wait(300) == 0


def test_descriptors_of_a_task_are_0_to_2(dugout, write):
    # ls itself opens the directory: 3
    dugout.ok("run", write({"t": sh("ls /proc/self/fd")}))
    assert dugout.ok("logs", "@latest/t").out.split() == ["0", "1", "2", "3"]


def syncs_of_a_chain(dugout, write, n):
    tasks = {"t0": sh("true")}
    for i in range(1, n):
        tasks["t%d" % i] = {**sh("true"), "after": ["t%d" % (i - 1)]}
    trace = dugout.home.parent / "trace"
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs,sync,msync", "-o",
         trace, BIN, "run", "--no-cache", write(tasks)],
        env=dugout.env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return len(re.findall(r"\b(?:fsync|fdatasync|sync|syncfs|msync|sync_file_range)\(",
                          trace.read_text()))


def test_a_chain_costs_one_fsynced_commit_a_step(dugout, write):
    if subprocess.run(["which", "strace"], capture_output=True).returncode:
        pytest.skip("strace is not installed")
    few, many = (syncs_of_a_chain(dugout, write, n) for n in (2, 12))
    assert many - few == 10
    assert few <= 2 + 5  # a run begins, and closes the database
