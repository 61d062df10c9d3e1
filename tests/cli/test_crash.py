# SPDX-License-Identifier: Apache-2.0
"""Engines that die, supervisors that go on, and who finishes the work."""

import os
import re
import signal
import subprocess
import time

import pytest

from conftest import BIN, out_param, sh


def wait_until(probe, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if probe():
            return True
        time.sleep(0.05)
    return False


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
    assert wait_until(lambda: (shared_dir / "begun").exists()), p.communicate()
    return p


def kill_engine(p):
    p.send_signal(signal.SIGKILL)
    p.wait(10)


def attempt_dir(dugout):
    return next((dugout.home / "runs").glob("*/*.1"))


def supervisor_pid(dugout):
    return int((attempt_dir(dugout) / "pid").read_text().split()[0])


def test_a_result_left_by_a_dead_engine_is_committed_once(dugout, slow, shared_dir):
    kill_engine(begin(dugout, slow, shared_dir))
    run = dugout.ok("runs", "--json").json[0]
    assert run["state"] == "INTERRUPTED"
    assert dugout.states()["a"] == "RUNNING"
    (shared_dir / "go").touch()
    assert wait_until(lambda: (attempt_dir(dugout) / "result.json").exists())
    for path in dugout.home.rglob("*"):  # three days later
        if not path.is_symlink():
            os.utime(path, (time.time() - 3 * 86400,) * 2)
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
    ends = [(p.communicate(timeout=60), p.returncode) for p in both]
    codes = sorted(code for _, code in ends)
    assert codes[0] == 0 and codes[1] in (2, 75), ends
    assert (shared_dir / "count").read_text() == "a\nb\n"
    doc = dugout.ok("show", run["run_id"], "--json").json
    assert doc["state"] == "SUCCEEDED"
    assert [t["attempts"] for t in doc["tasks"]] == [1, 1]
    lock = next((dugout.home / "runs").glob("*/lock"))
    assert subprocess.run(["flock", "-n", lock, "true"]).returncode == 0


def test_a_resume_adopts_a_supervisor_that_still_lives(dugout, slow, shared_dir):
    kill_engine(begin(dugout, slow, shared_dir))
    p = dugout.start("resume", "@latest")
    time.sleep(0.5)
    (shared_dir / "go").touch()
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0, err
    assert "adopted" in err
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
    time.sleep(0.5)
    assert not (shared_dir / "count").exists()


def test_cancel_stops_a_living_engine(dugout, slow, shared_dir):
    p = begin(dugout, slow, shared_dir)
    dugout.ok("cancel", "@latest")
    assert p.wait(30) == 128 + signal.SIGTERM
    assert dugout.ok("show", "@latest", "--json").json["state"] == "CANCELED"


def test_a_killed_supervisor_takes_its_box_along_and_the_host_is_blamed(dugout, slow, shared_dir):
    p = begin(dugout, slow, shared_dir)
    os.kill(supervisor_pid(dugout), signal.SIGKILL)
    assert wait_until(lambda: (shared_dir / "begun").read_text() == "a\na\n")
    (shared_dir / "go").touch()
    out, err = p.communicate(timeout=60)
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


def test_no_supervisor_holds_the_database_and_no_box_a_stray_descriptor(dugout, slow, shared_dir):
    p = begin(dugout, slow, shared_dir)
    pid = supervisor_pid(dugout)
    held = [os.readlink(f.path) for f in os.scandir("/proc/%d/fd" % pid)]
    assert not [x for x in held if "dugout.db" in x or "db.wlock" in x], held
    assert not [x for x in held if x.endswith("/lock") and x.count("/runs/") and
                not re.search(r"/\d+\.\d+/lock$", x)], held
    (shared_dir / "go").touch()
    assert p.wait(30) == 0


def test_descriptors_of_a_task_are_0_to_2(dugout, write):
    # ls itself opens the directory: 3
    dugout.ok("run", write({"t": sh("ls /proc/self/fd")}))
    assert dugout.ok("logs", "@latest/t").out.split() == ["0", "1", "2", "3"]


def test_a_chain_costs_one_fsynced_commit_a_step(dugout, write):
    if subprocess.run(["which", "strace"], capture_output=True).returncode:
        pytest.skip("strace is not installed")
    n = 5
    tasks = {"t0": sh("true")}
    for i in range(1, n):
        tasks["t%d" % i] = {**sh("true"), "after": ["t%d" % (i - 1)]}
    trace = dugout.home.parent / "trace"
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs", "-o", trace, BIN,
         "run", write(tasks)], env=dugout.env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    syncs = [x for x in trace.read_text().splitlines() if re.search(r"\b(fsync|fdatasync)\(", x)]
    # one for the run with its first start, one for each end; the WAL's first use adds two
    assert len(syncs) <= n + 1 + 3, syncs
