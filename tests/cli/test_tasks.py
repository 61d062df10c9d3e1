# SPDX-License-Identifier: Apache-2.0
"""Settings of single tasks from flags and the config; retry policies and who inherits them."""

import json
import os
import pathlib

import pytest

from conftest import sh, wait_until


def tasks(dugout, run="@latest"):
    return {t["path"]: t for t in dugout.ok("show", run, "--json").json["tasks"]}


# ---- one task alone ---------------------------------------------------------------------------


def test_a_mount_for_one_task(dugout, write, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("there\n")
    f = write({"a": sh("cat /d/x || echo none"), "b": sh("cat /d/x || echo none")})
    dugout.ok("run", f)
    dugout.ok("run", f, "-v", "a=%s:/d" % (tmp_path / "d"))
    assert dugout.ok("logs", "@latest/a").out == "there\n"
    t = tasks(dugout)
    assert t["b"]["cached"] and not t["a"]["cached"], "only a sees something outside its key"
    assert "-v" in dugout.ok("why", "@latest/a", "--json").json["summary"]
    show = dugout.ok("show", "@latest").out
    assert str(tmp_path / "d") in show


def test_a_mount_for_all_may_have_an_equals_sign(dugout, write, tmp_path):
    d = tmp_path / "a=b"
    d.mkdir()
    (d / "x").write_text("there\n")
    dugout.ok("run", write({"t": sh("cat /d/x")}), "-v", "%s:/d" % d)
    assert dugout.ok("logs", "@latest/t").out == "there\n"
    dugout.ok("run", write({"t": sh("cat /d/x")}), "-v", "t=%s:/d" % d, "--no-cache")
    dugout.ok("run", write({"t": sh("cat /e/x")}), "--no-cache",
              "--mount", "t=type=bind,source=%s,target=/e" % d)


def test_the_network_for_one_task(dugout, write):
    script = "readlink /proc/self/ns/net"
    f = write({"a": sh(script), "b": sh(script)})
    dugout.ok("run", f, "--network", "a=host", "--no-cache")
    ours = os.readlink("/proc/self/ns/net")
    assert dugout.ok("logs", "@latest/a").out.strip() == ours
    assert dugout.ok("logs", "@latest/b").out.strip() != ours
    externals = [x for x in dugout.ok("show", "@latest").out.splitlines() if "network" in x]
    assert externals, "the record says that it was open"
    r = dugout("run", f, "--network", "a=bridge")
    assert r.rc == 2 and "none or host" in r.err


def test_retries_for_one_task_win_over_its_policy(dugout, write):
    f = write({"a": {**sh("exit 1"), "retry": {"maxRetryCount": 5}}, "b": sh("exit 1")})
    dugout("run", f, "--retries", "a=1", "--retries", "2", "--jobs", "2")
    t = tasks(dugout)
    assert (t["a"]["attempts"], t["b"]["attempts"]) == (2, 3)


def test_memory_for_one_task_wins_over_its_own_limit(dugout, write):
    script = "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo ${#x}"
    f = write({"t": {**sh(script), "resources": {"resourceMemoryLimit": "32Mi"}}})
    if dugout("run", f).rc == 0:
        pytest.skip("this host enforces no memory limit")
    dugout.ok("run", f, "--memory", "t=512Mi")


def test_every_limit_has_a_form_for_one_task(dugout, write):
    df = "df -k /dev/shm | tail -1 | awk '{print $2}'"
    f = write({"a": sh(df), "b": sh(df)})
    dugout.ok("run", f, "--shm-size", "8Mi", "--shm-size", "a=1Mi")
    assert [dugout.ok("logs", "@latest/" + t).out.strip() for t in "ab"] == ["1024", "8192"]
    f = write({"a": sh("sleep 600"), "b": sh("true")})
    r = dugout("run", f, "--task-timeout", "a=1s")
    assert r.rc == 1 and tasks(dugout)["a"]["error"] == "stopped: the task's time-out of 1.0 s was reached"
    assert "--task-timeout a=2s" in dugout.ok("why", "@latest/a").out
    f = write({"a": sh("dd if=/dev/zero of=/tmp/x bs=1M count=40; sleep 600"), "b": sh("true")})
    r = dugout("run", f, "--disk", "a=8Mi")
    assert r.rc == 1 and "limit of 8.0 MiB on disk" in tasks(dugout)["a"]["error"]
    assert "--disk a=16Mi" in dugout.ok("why", "@latest/a").out


def test_limits_of_one_task_stand_in_the_config_and_survive_a_resume(dugout, write, tmp_path):
    (dugout.home / "config.yaml").write_text(
        "tasks:\n  a: {shm: 1Mi, cpus: 0.5, disk: 1Gi, task_timeout: 10m, memory: 64Mi}\n")
    gate = tmp_path / "gate"
    gate.mkdir()
    f = write({"a": sh("df -k /dev/shm | tail -1 | awk '{print $2}'; test -e /gate/open")})
    assert dugout("run", f, "-v", "%s:/gate" % gate, "--name", "r").rc == 1
    assert dugout.ok("logs", "r/a").out.strip() == "1024"
    (dugout.home / "config.yaml").unlink()
    (gate / "open").write_text("")
    dugout.ok("resume", "r")
    assert dugout.ok("logs", "r/a").out.strip() == "1024"


def cpu_share(pid):
    """cpu.weight or cpu.shares of a process, as a part of what one core has; None: no controller"""
    for line in open("/proc/%d/cgroup" % pid):
        _, names, path = line.rstrip("\n").split(":", 2)
        roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] + ["/sys/fs/cgroup/" + names]
        for root in roots:
            for file, usual in (("cpu.weight", 100), ("cpu.shares", 1024)):
                try:
                    return int(open(root + path + "/" + file).read()) / usual
                except OSError:
                    pass
    return None


def running(*argv):
    """Pids of processes with just this command line."""
    found = []
    for x in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if x.read_text().split("\0")[:-1] == list(argv):
                found.append(int(x.parent.name))
        except (OSError, UnicodeDecodeError):
            pass
    return found


@pytest.mark.parametrize("resources, share", [({"resourceCpuRequest": "500m"}, 0.5), ({}, 1)])
def test_a_cpu_request_is_its_part_when_there_is_not_enough(dugout, write, resources, share):
    long = "876%d" % os.getpid()  # no other suite on this machine sleeps for just as long
    f = write({"t": {**sh("sleep " + long), "resources": resources}})
    for _ in range(2):  # one after the other has the same place in the pool
        p = dugout.start("run", f)
        try:
            seen = cpu_share(wait_until(lambda: running("sleep", long))[0])
        finally:
            p.send_signal(2)
            p.communicate(timeout=300)
        if seen is None:
            pytest.skip("this host has no CPU controller")
        assert seen == share
        f = write({"t": {**sh("sleep " + long), "resources": {}}})
        share = 1


@pytest.mark.parametrize("resources, words, flag", [
    ({"resourceMemoryRequest": "900Ti"}, "asks for 900 TiB of memory", ["--memory", "t=64Mi"]),
    ({"resourceMemoryLimit": "900Ti"}, "asks for 900 TiB of memory", ["--memory", "t=64Mi"]),
    ({"resourceCpuRequest": "99999"}, "asks for 99999 CPUs", ["--cpus", "t=1"]),
])
def test_more_than_the_machine_has_is_refused_unless_told_otherwise(dugout, write, resources, words, flag):
    f = write({"t": {**sh("true"), "resources": resources}})
    r = dugout("run", f)
    assert r.rc == 3 and words in r.err and flag[0] in r.err, r
    assert dugout("plan", f).rc == 3
    dugout.ok("run", f, *flag)


def test_a_quantity_that_is_none_is_refused_before_the_start(dugout, write):
    r = dugout("run", write({"t": {**sh("true"), "resources": {"resourceMemoryLimit": "plenty"}}}))
    assert r.rc == 2 and 'memory limit: "plenty" is no size' in r.err, r


def test_a_task_that_is_not_there_is_named(dugout, write):
    f = write({"train": sh("true")})
    for flags in (["--retries", "trian=1"], ["-v", "trian=/etc:/x"], ["--network", "trian=host"],
                  ["--memory", "trian=1Gi"], ["--cpus", "trian=1"], ["--disk", "trian=1Gi"],
                  ["--shm-size", "trian=1Gi"], ["--task-timeout", "trian=1h"]):
        r = dugout("run", f, *flags)
        assert r.rc == 2 and 'no task "trian", did you mean "train"' in r.err, r
    for flags, words in ((["--retries", "train=x"], "whole number"),
                         (["--memory", "train=x"], "train"), (["--cpus", "train=x"], "train"),
                         (["--task-timeout", "train=x"], "train"),
                         (["-v", "train=/nope:/x"], "/nope"), (["-v", "train=x"], "SRC:DST")):
        r = dugout("run", f, *flags)
        assert r.rc in (2, 3) and words in r.err, r


def test_the_config_has_the_same_settings_and_flags_win(dugout, write, tmp_path):
    (tmp_path / "x").write_text("there\n")
    (dugout.home / "config.yaml").write_text(
        "tasks:\n  a: {volumes: ['%s:/x'], retries: 2, memory: 64Mi}\n"
        "  other-pipeline-s: {network: host}\n" % (tmp_path / "x"))
    f = write({"a": sh("cat /x; exit 1"), "b": sh("test ! -e /x")})
    dugout("run", f)
    t = tasks(dugout)
    assert t["a"]["attempts"] == 3 and t["b"]["state"] == "SUCCEEDED"
    assert dugout.ok("logs", "@latest/a").out == "there\n"
    dugout("run", f, "--retries", "a=0")
    assert tasks(dugout)["a"]["attempts"] == 1
    for text, words in [("tasks: []", "NAME: {...}"), ("tasks: {a: {retires: 1}}", "did you mean retries"),
                        ("tasks: {a: {retries: many}}", "whole number"),
                        ("tasks: {a: {volumes: /x}}", "list of SRC:DST"),
                        ("tasks: {a: {network: bridge}}", "none or host")]:
        (dugout.home / "config.yaml").write_text(text + "\n")
        r = dugout("runs")
        assert r.rc == 2 and words in r.err and "config.yaml:1" in r.err, r


def test_a_resume_keeps_them(dugout, write, tmp_path):
    (tmp_path / "x").write_text("")
    f = write({"a": sh("test -s /x")})
    assert dugout("run", f, "-v", "a=%s:/x" % (tmp_path / "x"), "--name", "r").rc == 1
    (tmp_path / "x").write_text("now\n")
    dugout.ok("resume", "r")


# ---- retry policies -----------------------------------------------------------------------------


def nested(outer=None, inner=None, leaf=None):
    """root -> out (DAG) -> in (DAG) -> t (fails)."""
    def task(component, retry):
        t = {"componentRef": {"name": component}}
        if retry is not None:
            t["retryPolicy"] = retry
        return t

    return {
        "pipelineInfo": {"name": "p"}, "schemaVersion": "2.1.0",
        "components": {
            "comp-out": {"dag": {"tasks": {"in": task("comp-in", inner)}}},
            "comp-in": {"dag": {"tasks": {"t": task("comp-t", leaf)}}},
            "comp-t": {"executorLabel": "exec-t"},
        },
        "deploymentSpec": {"executors": {"exec-t": {"container": {
            "image": "tiny", "command": ["sh", "-c", "exit 1"]}}}},
        "root": {"dag": {"tasks": {"out": task("comp-out", outer)}}},
    }


@pytest.mark.parametrize("outer, inner, leaf, attempts", [
    (None, None, None, 1), ({"maxRetryCount": 2}, None, None, 3),
    ({"maxRetryCount": 2}, {"maxRetryCount": 1}, None, 2),
    ({"maxRetryCount": 2}, None, {"maxRetryCount": 0}, 1),
    (None, None, {"maxRetryCount": 1.0, "backoffDuration": "0s", "backoffFactor": 0}, 2),
])
def test_a_policy_of_a_dag_is_inherited(dugout, tmp_path, outer, inner, leaf, attempts):
    f = tmp_path / "n.json"
    f.write_text(json.dumps(nested(outer, inner, leaf)))
    assert dugout("run", f).rc == 1
    assert tasks(dugout)["out/in/t"]["attempts"] == attempts


def test_back_off_grows_by_its_factor_up_to_its_cap(dugout, write):
    f = write({"t": {**sh("exit 1"), "retry": {
        "maxRetryCount": 4, "backoffDuration": "0.01s", "backoffFactor": 10,
        "backoffMaxDuration": "0.5s"}}})
    r = dugout("run", f)
    waits = [line.split(" in ")[1] for line in r.err.splitlines() if "again in" in line]
    assert len(waits) == 4 and waits[-1] == waits[-2] == "0.5 s", r


def test_only_the_first_attempt_looks_in_the_cache(dugout, write, tmp_path):
    f = write({"t": sh("exit 1")})
    dugout("run", f)
    assert not tasks(dugout)["t"]["cached"]
    assert dugout("run", f).rc == 1, "a failure is never a hit"
