# SPDX-License-Identifier: Apache-2.0
"""Runs, end to end, with the shipped binary."""

import json
import os
import signal
import stat
import subprocess

import pytest

from conftest import ROOT, out_param, sh, wait_until

SLEEP = sh("echo begun; sleep 600")
HELD = sh("until [ -e /gate/open ]; do sleep 0.1; done")


@pytest.fixture
def gate(tmp_path):
    """What lets HELD end: flags for `run`, and a file to make."""
    where = tmp_path / "gate"
    where.mkdir()
    yield ["-v", "%s:/gate" % where], where / "open"
    (where / "open").touch()


def running(dugout):
    runs = dugout.ok("runs", "--json").json
    return runs and "RUNNING" in dugout.states(runs[0]["run_id"]).values()


def test_hello_prints_its_output(python_home):
    r = python_home.ok("run", ROOT / "pipelines/hello/hello.yaml", "--no-cache")
    assert r.out == "Output: HELLO, WORLD\n"
    doc = python_home.ok("show", "@latest", "--json").json
    assert doc["state"] == "SUCCEEDED"
    assert doc["outputs"]["parameters"] == {"Output": "HELLO, WORLD"}


def test_a_parameter_reaches_the_task(python_home):
    r = python_home.ok("run", ROOT / "pipelines/hello/hello.yaml", "-p", "name=you")
    assert r.out == "Output: HELLO, YOU\n"


def test_the_json_of_a_run_has_every_member_of_the_contract(dugout, write):
    f = write(
        {"make": {**sh('mkdir -p "$(dirname "$0")"; printf 3 >"$0"', out_param("n")),
                  "out": {"n": "NUMBER_INTEGER"}}},
        outputs={"n": "make.n"},
    )
    doc = dugout.ok("run", f, "--json", "--name", "mine").json
    for key in ("run_id", "name", "pipeline", "experiment", "state", "created", "finished",
                "error", "parameters", "outputs", "tasks"):
        assert key in doc, key
    assert doc["name"] == "mine" and doc["experiment"] == "Default" and doc["error"] is None
    task = doc["tasks"][0]
    for key in ("path", "name", "kind", "state", "attempts", "cached", "exit_code", "error",
                "reason", "image", "started", "finished", "peak_memory_bytes", "cpu_seconds",
                "inputs", "outputs"):
        assert key in task, key
    assert task["kind"] == "container" and task["exit_code"] == 0 and task["attempts"] == 1
    assert task["image"].startswith("sha256:")
    assert task["outputs"]["parameters"] == {"n": 3}


def test_files_and_directories_are_handed_on_read_only(dugout, write):
    f = write({
        "make": {
            **sh('mkdir -p "$0" "$(dirname "$1")"; echo in-dir >"$0/x"; mkdir "$0/sub"; '
                 'echo deep >"$0/sub/y"; echo in-file >"$1"',
                 "{{$.outputs.artifacts['d'].path}}", "{{$.outputs.artifacts['f'].path}}"),
            "art_out": {"d": "system.Dataset", "f": "system.Dataset"}},
        "use": {
            **sh('cat "$0/x" "$0/sub/y" "$1"; (echo no >"$1") 2>/dev/null && exit 9; '
                 'touch "$0/z" 2>/dev/null && exit 9; exit 0',
                 "{{$.inputs.artifacts['d'].path}}", "{{$.inputs.artifacts['f'].path}}"),
            "art_in": {"d": "make.d", "f": "make.f"}},
    })
    dugout.ok("run", f)
    assert dugout.ok("logs", "@latest/use").out == "in-dir\ndeep\nin-file\n"
    arts = {a["name"]: a for a in dugout.ok("artifacts", "--json").json}
    assert set(arts) == {"d", "f"}
    assert dugout.ok("artifact", "cat", "@latest/make:f").out == "in-file\n"


def test_a_failed_task_skips_what_needs_it(dugout, write):
    f = write({
        "top": sh("true"),
        "left": {**sh("echo boom >&2; exit 7"), "after": ["top"]},
        "right": {**sh("true"), "after": ["top"]},
        "join": {**sh("true"), "after": ["left", "right"]},
    })
    r = dugout("run", f, "--jobs", "2")
    assert r.rc == 1
    assert dugout.states() == {"top": "SUCCEEDED", "left": "FAILED", "right": "SUCCEEDED",
                               "join": "SKIPPED"}
    assert "task left: exit code 7" in r.err and "| boom" in r.err
    tasks = {t["path"]: t for t in dugout.ok("show", "@latest", "--json").json["tasks"]}
    assert tasks["left"]["exit_code"] == 7 and "left" in tasks["join"]["reason"]


def test_a_retry_policy_gives_further_attempts(dugout, write, tmp_path):
    (tmp_path / "m").mkdir()
    f = write({"t": {**sh("echo try $KFP_RETRY_INDEX; echo x >>/m/n; [ $(wc -l </m/n) -ge 3 ]"),
                     "retry": {"maxRetryCount": 2, "backoffDuration": "0s"}}})
    dugout.ok("run", f, "-v", "%s:/m:rw" % (tmp_path / "m"))
    task = dugout.ok("show", "@latest", "--json").json["tasks"][0]
    assert task["attempts"] == 3 and task["state"] == "SUCCEEDED"
    assert dugout.ok("logs", "@latest/t", "--attempt", "1").out == "try 0\n"
    assert dugout.ok("logs", "@latest/t").out == "try 2\n"


def test_retries_of_the_command_line_are_for_tasks_without_a_policy(dugout, write):
    f = write({"t": sh("exit 3")})
    assert dugout("run", f, "--retries", "1").rc == 1
    assert dugout.ok("show", "@latest", "--json").json["tasks"][0]["attempts"] == 2


def test_a_missing_output_parameter_fails_the_task(dugout, write):
    f = write({"t": {**sh("true"), "out": {"n": "STRING"}}})
    r = dugout("run", f)
    assert r.rc == 1 and "output parameter n is missing" in r.err


def test_an_output_of_the_wrong_kind_fails_the_task(dugout, write):
    f = write({"t": {**sh('mkdir -p "$(dirname "$0")"; echo many >"$0"', out_param("n")),
                     "out": {"n": "NUMBER_INTEGER"}}})
    r = dugout("run", f)
    assert r.rc == 1 and "output parameter n" in r.err


def test_a_command_that_is_not_there_says_so(dugout, write):
    r = dugout("run", write({"t": {"command": ["no-such-program"]}}))
    assert r.rc == 1 and "no-such-program" in r.err
    assert dugout.ok("show", "@latest", "--json").json["tasks"][0]["exit_code"] == 127


def test_executor_env_is_expanded_in_args_and_nothing_else_is(dugout, write):
    f = write({"t": {"command": ["echo", "$(WHO) $(OTHER) $$"], "env": {"WHO": "me"}}})
    dugout.ok("run", f)
    assert dugout.ok("logs", "@latest/t").out == "me $(OTHER) $\n"


def test_what_a_task_wrote_is_never_scanned_for_placeholders(dugout, write):
    evil = "{{$.outputs.parameters['n'].output_file}} $(date)"
    f = write({
        "a": {**sh('mkdir -p "$(dirname "$1")"; printf %s "$0" >"$1"', evil.replace("{{", "{ {"),
                   out_param("n")), "out": {"n": "STRING"}},
        "b": {"command": ["echo", "{{$.inputs.parameters['n']}}"], "inp": {"n": "a.n"}},
    })
    dugout.ok("run", f)
    assert dugout.ok("logs", "@latest/b").out == evil.replace("{{", "{ {") + "\n"


def test_a_box_has_no_network_but_loopback(dugout, write):
    f = write({"t": sh("ls /sys/class/net")})
    dugout.ok("run", f)
    assert dugout.ok("logs", "@latest/t").out.split() == ["lo"]


def test_mounts_are_read_only_unless_told_otherwise_and_recorded(dugout, write, tmp_path):
    (tmp_path / "m").mkdir()
    f = write({"t": sh("(echo x >/m/x) 2>/dev/null && echo wrote || echo refused")})
    dugout.ok("run", f, "-v", "%s:/m" % (tmp_path / "m"))
    assert dugout.ok("logs", "@latest/t").out == "refused\n"
    dugout.ok("run", f, "-v", "%s:/m:rw" % (tmp_path / "m"))
    assert dugout.ok("logs", "@latest/t").out == "wrote\n"
    assert "unverified" in dugout.ok("show", "@latest").out


@pytest.mark.parametrize("flag, wrote", [
    (["-v", "{m}:/m:ro"], False), (["--volume", "{m}:/m:rw"], True),
    (["--mount", "type=bind,source={m},target=/m"], False),
    (["--mount", "type=bind,src={m},dst=/m,rw"], True),
    (["--mount=type=bind,src={m},destination=/m,readonly=false"], True),
])
def test_a_mount_may_be_written_as_docker_has_it(dugout, write, tmp_path, flag, wrote):
    (tmp_path / "m").mkdir()
    f = write({"t": sh("touch /m/x 2>/dev/null; true")})
    dugout.ok("run", f, *[x.replace("{m}", str(tmp_path / "m")) for x in flag])
    assert (tmp_path / "m" / "x").exists() == wrote


@pytest.mark.parametrize("flag, code, word", [
    ("/no/such:/m", 3, "/no/such"), ("/tmp", 2, "SRC:DST"), ("/tmp:m", 2, "absolute"),
    ("/tmp:/m:z", 2, '"z"'), ("/tmp:/m:rw,shared", 2, '"shared"'), ("/tmp:/", 2, "own"),
    ("/tmp:/proc/x", 2, "own"), ("/tmp:/a/../b", 2, ".."), ("type=volume,src=v,dst=/m", 2, "bind"),
    ("type=bind,src=/tmp,dst=/m,propagation=shared", 2, "propagation"),
])
def test_a_mount_that_cannot_be_had_is_refused_before_the_start(dugout, write, flag, code, word):
    r = dugout("run", write({"t": sh("true")}), "-v", flag)
    assert r.rc == code and word in r.err and len(r.err.splitlines()) == 1, r
    assert dugout.ok("runs", "--json").json == []


def test_a_greedy_task_is_told_that_memory_ran_out(dugout, write):
    if not any("memory" in f["value"] for f in dugout("doctor", "--json").json
               if f["name"] == "cgroup"):
        pytest.skip("no memory cgroup can be written here")
    f = write({"t": {**sh("head -c 200000000 /dev/zero | tail -c 199999999 >/dev/null"),
                     "resources": {"resourceMemoryLimit": "32Mi"}}})
    r = dugout("run", f)
    assert r.rc == 1 and "out of memory: the limit is 32" in r.err


def test_the_time_out_of_a_run_ends_it(dugout, write):
    r = dugout("run", write({"t": SLEEP}), "--timeout", "1s")
    assert r.rc == 124
    assert dugout.ok("show", "@latest", "--json").json["state"] == "FAILED"


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_run_and_its_boxes(dugout, write, sig):
    p = dugout.start("run", write({"t": SLEEP, "u": {**sh("true"), "after": ["t"]}}))
    wait_until(lambda: running(dugout))
    p.send_signal(sig)
    assert p.wait(300) == 128 + sig
    doc = dugout.ok("show", "@latest", "--json").json
    assert doc["state"] == "CANCELED"
    assert {t["state"] for t in doc["tasks"]} == {"CANCELED"}


def test_a_hangup_detaches_and_the_run_goes_on(dugout, write, gate):
    flags, door = gate
    p = dugout.start("run", write({"t": HELD, "u": {**sh("true"), "after": ["t"]}}), *flags)
    wait_until(lambda: running(dugout))
    p.send_signal(signal.SIGHUP)
    door.touch()
    assert p.wait(300) == 0
    assert dugout.states() == {"t": "SUCCEEDED", "u": "SUCCEEDED"}


def test_a_detached_run_prints_its_name_and_goes_on(dugout, write, gate):
    flags, door = gate
    r = dugout.ok("run", write({"t": HELD}), "-d", *flags)
    name = r.out.strip()
    assert dugout.ok("show", name, "--json").json["state"] == "RUNNING"
    door.touch()
    wait_until(lambda: dugout.ok("show", name, "--json").json["state"] == "SUCCEEDED")


def test_a_detached_run_still_says_what_is_wrong_at_the_start(dugout, write):
    r = dugout("run", write({"t": {**sh("true"), "image": "absent"}}), "-d")
    assert r.rc == 3 and "image absent is not here" in r.err


def test_a_gpu_is_refused_unless_none_is_wanted(dugout, write):
    f = write({"t": {**sh("true"), "resources": {"accelerator": {
        "resourceType": "nvidia.com/gpu", "resourceCount": "1"}}}})
    r = dugout("run", f)
    assert r.rc == 3 and "GPU" in r.err
    dugout.ok("run", f, "--gpus", "none")


@pytest.mark.parametrize("extra, word", [
    ({"parameterIterator": {"items": {"raw": "[1]"}, "itemInput": "i"}}, "loop"),
])
def test_what_is_not_run_yet_is_refused_by_name(dugout, write, extra, word):
    r = dugout("run", write({"t": {**sh("true"), "inp": {"i": "=1"}, "extra": extra}}))
    assert r.rc == 2 and word in r.err.lower(), r


def test_hooks_get_the_run_and_cannot_harm_it(dugout, write, tmp_path):
    seen = tmp_path / "seen"
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\ncat >%s\necho $DUGOUT_STATE >>%s.state\nexit 5\n" % (seen, seen))
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    (dugout.home / "config.yaml").write_text(
        "hooks:\n  on_success: %s\n  on_failure: /no/such/program\n" % hook)
    r = dugout("run", write({"t": sh("true")}))
    assert r.rc == 0 and "hook" in r.err
    doc = json.loads(seen.read_text())
    assert doc["state"] == "SUCCEEDED" and "log" in doc
    assert (tmp_path / "seen.state").read_text() == "SUCCEEDED\n"
    assert dugout("run", write({"t": sh("false")}, name="q")).rc == 1


def sleepers(pid) -> list:
    """Children of a process that are `sleep`."""
    found = []
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        children = f.read().split()
    for child in children:
        try:
            with open("/proc/%s/comm" % child) as f:
                found += [int(child)] * (f.read() == "sleep\n")
        except OSError:
            continue  # it has just ended
    return found


def test_a_hook_that_hangs_or_stops_reading_is_killed_and_the_run_stands(dugout, write, tmp_path):
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\nexec 0<&-\nexec sleep 1000\n")
    hook.chmod(0o755)
    (dugout.home / "config.yaml").write_text("hooks:\n  on_success: %s\n" % hook)
    p = dugout.start("run", write({"t": sh("true")}))
    wait_until(lambda: sleepers(p.pid))
    assert dugout.ok("runs", "--json").json[0]["state"] == "SUCCEEDED"  # whatever becomes of it
    assert p.poll() is None
    for pid in sleepers(p.pid):
        os.kill(pid, signal.SIGTERM)
    assert p.wait(300) == 0
    assert "the run is not affected" in p.stderr.read()


def test_a_command_that_finds_a_dead_engine_tells_the_hook_and_does_not_wait(
        dugout, write, tmp_path, gate):
    flags, door = gate
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho $$ >%s/pid; cat >%s/part; mv %s/part %s/seen; exec sleep 3600\n"
                    % ((tmp_path,) * 4))
    hook.chmod(0o755)
    (dugout.home / "config.yaml").write_text("hooks: {on_interrupted: %s}\n" % hook)
    p = dugout.start("run", write({"t": HELD}), *flags)
    wait_until(lambda: running(dugout))
    p.kill()
    p.wait()
    assert dugout.ok("runs", "--json", timeout=300).json[0]["state"] == "INTERRUPTED"
    wait_until((tmp_path / "seen").exists)
    assert json.loads((tmp_path / "seen").read_text())["state"] == "INTERRUPTED"
    door.touch()
    dugout.ok("resume", "--all", timeout=300)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_run_remembers_who_ran_what(dugout, write):
    f = write({"t": sh("true")})
    dugout.ok("run", f, "--experiment", "E1")
    assert dugout.ok("show", "@latest", "--spec").out == f.read_text()
    text = dugout.ok("show", "@latest").out
    assert os.uname().nodename in text and "--experiment" in text


@pytest.mark.parametrize("how", ["clone", "packed", "worktree"])
def test_a_run_remembers_the_git_commit_of_its_folder(dugout, write, tmp_path, how):
    def git(*args):
        return subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", tmp_path / "repo", *args],
            capture_output=True, text=True, check=True).stdout.strip()

    if subprocess.run(["which", "git"], capture_output=True).returncode:
        pytest.skip("git is not installed")
    (tmp_path / "repo").mkdir()
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    top = tmp_path / "repo"
    if how == "packed":
        git("pack-refs", "--all")
    if how == "worktree":
        top = tmp_path / "tree"
        git("worktree", "add", "-q", "-b", "other", top)
    (top / "deep").mkdir()
    path = write({"t": sh("true")}).rename(top / "deep" / "p.json")
    dugout.ok("run", path)
    assert dugout.ok("show", "@latest", "--json").json["git_commit"] == git("rev-parse", "HEAD")


def test_a_root_artifact_is_fed_from_a_path_and_hashed(dugout, write, tmp_path):
    (tmp_path / "data").write_text("one\n")
    f = write(
        {"t": {"command": ["cat", "{{$.inputs.artifacts['d'].path}}"], "art_in": {"d": "data"}}},
        inputs={"artifacts": {"data": {"artifactType": {
            "schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}}})
    r = dugout("run", f)
    assert r.rc == 2 and "--input data=" in r.err
    dugout.ok("run", f, "--input", "data=%s" % (tmp_path / "data"))
    assert dugout.ok("logs", "@latest/t").out == "one\n"
    assert "t:d" in dugout.ok("artifact", "show", tmp_path / "data").out
    (tmp_path / "data").write_text("two\n")
    dugout.ok("run", f, "--input", "data=%s" % (tmp_path / "data"))
    assert dugout.ok("logs", "@latest/t").out == "two\n"


def test_a_tag_is_set_when_the_run_succeeds(dugout, write):
    f = write({"m": {**sh('mkdir -p "$(dirname "$0")"; echo model >"$0"',
                          "{{$.outputs.artifacts['model'].path}}"),
                     "art_out": {"model": "system.Model"}}})
    dugout.ok("run", f, "--tag", "m:model=churn:prod")
    assert dugout.ok("artifact", "cat", "churn:prod").out == "model\n"
    assert dugout("tag", "a1", "churn:prod").rc == 0
    assert "m in p-" in dugout.ok("lineage", "churn:prod").out


def test_plan_says_what_would_run_and_what_is_missing(dugout, write):
    f = write({"a": sh("true"), "b": {**sh("true"), "image": "absent", "after": ["a"]}})
    r = dugout("plan", f)
    assert r.rc == 3 and "absent" in r.err
    good = write({"a": sh("true")}, name="good")
    assert "run" in dugout.ok("plan", good).out
    dugout.ok("run", good)
    assert "be cached" in dugout.ok("plan", good).out


def test_the_second_run_is_all_hits_and_says_nothing_new(dugout, write):
    f = write({"a": {**sh('mkdir -p "$(dirname "$0")"; echo 1 >"$0"', out_param("n")),
                     "out": {"n": "STRING"}},
               "b": {**sh("true"), "inp": {"n": "a.n"}}})
    assert "nothing new" not in dugout.ok("run", f).err
    r = dugout.ok("run", f)
    assert r.err.splitlines()[-1].startswith("nothing new")
    assert "nothing new" not in dugout.ok("run", f, "--no-cache").err
    assert "nothing new" not in dugout.ok("run", f, "--refresh").err
    assert "nothing new" not in dugout.ok("run", f, "--refresh=a").err
    r = dugout.ok("run", f, "--cache-max-age", "1ms")
    assert "nothing new" not in r.err
    assert "nothing new" not in dugout.ok("run", f, "-e", "A=B").err
    assert "nothing new" in dugout.ok("runs").out


def test_a_hit_says_which_image_made_it(dugout, write):
    f = write({"a": sh("true")})
    (first,) = dugout.ok("run", f, "--json").json["tasks"]
    (second,) = dugout.ok("run", f, "--json").json["tasks"]
    assert second["cached"] and second["image"] == first["image"]


def test_events_are_one_json_line_each_from_the_start_to_the_end(dugout, write, tmp_path):
    f = write({"a": sh("true"), "b": {**sh("exit 4"), "after": ["a"]}})
    assert dugout("run", f, "--quiet", "--events", tmp_path / "ev").rc == 1
    events = [json.loads(line) for line in open(tmp_path / "ev")]
    assert len({e["run_id"] for e in events}) == 1
    assert [(e["task"], e["state"]) for e in events if e["event"] == "task"] == [
        ("a", "RUNNING"), ("a", "SUCCEEDED"), ("b", "RUNNING"), ("b", "FAILED")]
    assert events[0]["event"] == "run"
    end = events[-1]
    assert (end["event"], end["state"], end["tasks"], end["failed"]) == ("end", "FAILED", 2, 1)


def test_nobody_who_reads_stdout_can_end_a_run(dugout, write):
    f = write({"a": {**sh('sleep 1; mkdir -p "$(dirname "$0")"; printf 1 >"$0"', out_param("n")),
                     "out": {"n": "STRING"}}}, outputs={"n": "a.n"})
    for verbose in ([], ["--json"], ["--events", "/dev/stdout"]):
        p = dugout.start("run", "--no-cache", *verbose, f)
        p.stdout.close()
        p.stderr.close()
        assert p.wait(300) == 0
    assert [r["state"] for r in dugout.ok("runs", "--json").json] == ["SUCCEEDED"] * 3


def test_what_sees_the_outside_is_never_a_hit(dugout, write, tmp_path):
    f = write({"a": sh("true")})
    for _ in range(2):
        assert "nothing new" not in dugout.ok("run", f, "-v", "%s:/m" % tmp_path).err
