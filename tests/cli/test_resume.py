# SPDX-License-Identifier: Apache-2.0
"""Going on with a run: the same pipeline, an edited one, from a task, with other settings.

What a dead engine leaves behind is in test_crash.py.
"""
import json
import sqlite3

import pytest

from conftest import out_param, sh, wait_until

MAKE = 'mkdir -p "$(dirname "$1")"; echo "$0" >"$1"'


def tasks(dugout, run="@latest"):
    return {t["path"]: t for t in dugout.ok("show", run, "--json").json["tasks"]}


def chain(write, use, cache=True, rows="10", mark=None):
    """make (parameter rows -> artifact) -> use (a script)."""
    return write({
        "make": {**sh("echo x >>/m/made; " * bool(mark) + MAKE, "{{$.inputs.parameters['rows']}}",
                      "{{$.outputs.artifacts['data'].path}}"),
                 "inp": {"rows": "rows"}, "art_out": {"data": "system.Dataset"}, "cache": cache},
        "use": {**sh(use, "x", "{{$.inputs.artifacts['data'].path}}"),
                "art_in": {"data": "make.data"}, "cache": cache},
    }, inputs={"parameters": {"rows": {"parameterType": "STRING", "defaultValue": rows,
                                       "isOptional": True}}})


def test_the_same_pipeline_adds_attempts_to_the_run(dugout, write, tmp_path):
    f = chain(write, "test -s /m/ok", mark=True)
    (tmp_path / "m").mkdir()
    assert dugout("run", f, "-v", "%s:/m:rw" % (tmp_path / "m"), "--name", "r").rc == 1
    before = dugout.ok("show", "r", "--json").json
    (tmp_path / "m" / "ok").write_text("1")
    dugout.ok("resume", "r", "--pipeline", f)  # not edited: the run itself goes on
    after = dugout.ok("show", "r", "--json").json
    assert after["run_id"] == before["run_id"] and after["state"] == "SUCCEEDED"
    t = tasks(dugout, "r")
    assert (t["make"]["attempts"], t["use"]["attempts"]) == (1, 2)
    assert (tmp_path / "m" / "made").read_text() == "x\n"
    assert len(dugout.ok("runs", "--json").json) == 1


@pytest.mark.parametrize("cache", [True, False])
def test_an_edited_pipeline_makes_a_new_run_where_only_what_changed_runs(dugout, write, cache):
    assert dugout("run", chain(write, "exit 1", cache), "--name", "old", "-p", "rows=7").rc == 1
    old = dugout.ok("show", "old", "--json").json
    r = dugout.ok("resume", "old", "--pipeline", chain(write, "cat $1", cache))
    new = dugout.ok("show", "@latest", "--json").json
    assert new["run_id"] != old["run_id"] and new["parent_run_id"] == old["run_id"]
    assert new["parameters"] == {"rows": "7"}, "the parent's parameters hold"
    t = tasks(dugout)
    assert t["make"]["cached"] and not t["use"]["cached"]
    assert dugout.ok("logs", "@latest/use").out == "7\n"
    assert dugout.ok("show", "old", "--json").json == old, "the old run stays as it was"
    assert "continues   old" in dugout.ok("show", "@latest").out
    if not cache:
        doc = dugout.ok("why", "@latest/make", "--json").json
        assert doc["from"] == {"run": "old", "task": "make"} and "taken over" in doc["summary"]
    assert "1 cached" in r.err


def test_a_chain_of_edits_takes_over_what_was_taken_over(dugout, write):
    assert dugout("run", chain(write, "exit 1", False), "--name", "one").rc == 1
    assert dugout("resume", "one", "--pipeline", chain(write, "exit 2", False)).rc == 1
    two = dugout.ok("show", "@latest", "--json").json["name"]
    dugout.ok("resume", two, "--pipeline", chain(write, "exit 0", False))
    assert tasks(dugout)["make"]["cached"]
    assert dugout.ok("why", "@latest/make", "--json").json["from"]["run"] == "one"


def test_an_edited_upstream_runs_again_with_all_that_sees_it(dugout, write):
    f = chain(write, "cat $1; exit 1", False)
    assert dugout("run", f, "--name", "old").rc == 1
    doc = json.loads(f.read_text())
    make = doc["deploymentSpec"]["executors"]["exec-make"]["container"]
    make["command"][2] = 'mkdir -p "$(dirname "$1")"; echo "$0 edited" >"$1"'
    doc["deploymentSpec"]["executors"]["exec-use"]["container"]["command"][2] = "cat $1"
    f.write_text(json.dumps(doc))
    dugout.ok("resume", "old", "--pipeline", f)
    t = tasks(dugout)
    assert not t["make"]["cached"] and dugout.ok("logs", "@latest/use").out == "10 edited\n"


def test_an_edited_default_counts_and_flags_win(dugout, write):
    assert dugout("run", chain(write, "exit 1"), "--name", "old").rc == 1
    edited = chain(write, "cat $1", rows="20")
    dugout.ok("resume", "old", "--pipeline", edited)
    assert dugout.ok("logs", "@latest/use").out == "20\n"
    dugout.ok("resume", "old", "--pipeline", edited, "-p", "rows=30")
    assert dugout.ok("logs", "@latest/use").out == "30\n"
    r = dugout("resume", "old", "-p", "rows=30")
    assert r.rc == 2 and "--pipeline" in r.err


def test_options_are_kept_and_may_be_changed(dugout, write, tmp_path):
    (tmp_path / "x").write_text("")
    f = write({"t": sh("echo $A; test -s /x")})
    flags = ["-v", "%s:/x" % (tmp_path / "x"), "--env", "A=1", "--retries", "1"]
    assert dugout("run", f, *flags, "--name", "r").rc == 1
    assert tasks(dugout)["t"]["attempts"] == 2
    assert dugout("resume", "r", "--retries", "t=0").rc == 1
    assert tasks(dugout)["t"]["attempts"] == 3
    assert dugout("resume", "r", "--retries", "t=2").rc == 1
    assert tasks(dugout)["t"]["attempts"] == 6, "all retries again"
    other = tmp_path / "y"
    other.write_text("y")
    doc = json.loads(f.read_text())
    doc["deploymentSpec"]["executors"]["exec-t"]["container"]["command"][2] = \
        "echo $A; test -s /y"
    f.write_text(json.dumps(doc))
    dugout.ok("resume", "r", "--pipeline", f, "-v", "%s:/y" % other)
    assert dugout.ok("logs", "@latest/t").out == "1\n"


def test_from_a_task_of_a_run_that_succeeded_makes_a_new_run(dugout, write):
    dugout.ok("run", chain(write, "cat $1"), "--name", "old")
    r = dugout("resume", "old")
    assert r.rc == 2 and "nothing to resume" in r.err
    dugout.ok("resume", "old", "--from", "use")
    new = dugout.ok("show", "@latest", "--json").json
    assert new["name"] != "old" and new["parent_run_id"]
    t = tasks(dugout)
    assert t["make"]["cached"] and not t["use"]["cached"]
    dugout.ok("resume", "old", "--from", "make")
    assert not any(x["cached"] for x in tasks(dugout).values())
    r = dugout("resume", "old", "--from", "mkae")
    assert r.rc == 2 and 'did you mean "make"' in r.err


def test_from_a_task_of_a_failed_run(dugout, write, tmp_path):
    f = write({
        "a": sh("echo a >>/m/log"), "b": {**sh("echo b >>/m/log"), "after": ["a"]},
        "c": {**sh("echo c >>/m/log; test -e /m/ok"), "after": ["b"]}})
    m = tmp_path / "m"
    m.mkdir()
    assert dugout("run", f, "-v", "%s:/m:rw" % m, "--name", "r").rc == 1
    (m / "ok").write_text("")
    dugout.ok("resume", "r", "--from", "b")
    assert (m / "log").read_text() == "a\nb\nc\nb\nc\n"


def test_a_run_with_a_root_artifact_is_resumed(dugout, write, tmp_path):
    data = tmp_path / "data.csv"
    data.write_text("1\n2\n")
    (tmp_path / "m").mkdir()
    ds = {"artifacts": {"data": {"artifactType": {"schemaTitle": "system.Dataset"}}}}
    f = write({"a": {**sh("cat $0", "{{$.inputs.artifacts['data'].path}}"),
                     "art_in": {"data": "data"}},
               "b": {**sh("cat $0; test -e /m/ok", "{{$.inputs.artifacts['data'].path}}"),
                     "art_in": {"data": "data"}, "after": ["a"]}}, inputs=ds)
    flags = ["--input", "data=%s" % data, "-v", "%s:/m" % (tmp_path / "m")]
    assert dugout("run", f, *flags, "--name", "r").rc == 1
    (tmp_path / "m" / "ok").write_text("")
    data.write_text("changed since\n")
    dugout.ok("resume", "r")
    assert dugout.ok("logs", "r/b").out == "1\n2\n", "the artifact of the run, not the file of today"
    doc = json.loads(f.read_text())
    doc["deploymentSpec"]["executors"]["exec-b"]["container"]["command"][2] = "cat $0 $0"
    f.write_text(json.dumps(doc))
    dugout.ok("resume", "r", "--pipeline", f)
    assert dugout.ok("logs", "@latest/b").out == "1\n2\n1\n2\n"
    assert tasks(dugout)["a"]["cached"]


def test_tags_for_the_end_are_kept(dugout, write, tmp_path):
    (tmp_path / "m").mkdir()
    f = chain(write, "test -e /m/ok")
    flags = ["-v", "%s:/m" % (tmp_path / "m"), "--tag", "make:data=d:good"]
    assert dugout("run", f, *flags, "--name", "r").rc == 1
    assert dugout("artifact", "show", "d:good").rc == 3
    (tmp_path / "m" / "ok").write_text("")
    dugout.ok("resume", "r")
    first = dugout.ok("artifact", "show", "d:good", "--json").json["id"]
    dugout.ok("resume", "r", "--pipeline", chain(write, "test -e /m/ok", rows="11"))
    assert dugout.ok("artifact", "show", "d:good", "--json").json["id"] != first
    r = dugout.ok("resume", "r", "--pipeline", write({"other": sh("true")}))
    assert "no make:data any more" in r.err


def test_a_run_that_still_runs_is_not_continued(dugout, write):
    f = write({"t": sh("sleep 600")})
    p = dugout.start("run", f, "--name", "r")
    try:
        wait_until(lambda: "RUNNING" in dugout("runs").out)
        edited = write({"t": sh("true")}, name="q")
        r = dugout("resume", "r", "--pipeline", edited)
        assert r.rc == 75 and "still runs" in r.err, r
        assert dugout("resume", "r").rc == 75
    finally:
        dugout("cancel", "r")
        p.communicate(timeout=300)


def test_wrong_calls(dugout, write):
    for args, words in [(["resume"], "--all"), (["resume", "--all", "--from", "t"], "--all goes"),
                        (["retry", "nope"], "nope")]:
        r = dugout(*args)
        assert r.rc in (2, 3) and words in r.err, r
    assert dugout("resume", "--all").rc == 0


@pytest.mark.parametrize("key, value, said", [
    ("env", ["A=b", 5], "env.1"), ("refresh", [None], "refresh.0"), ("retries", -1, "retries"),
    ("cpu_millis", 1 << 40, "cpu_millis"), ("mounts", [{"src": 7, "dst": "/x"}], "mounts.0"),
    ("tasks", [{"task": ["t"], "mounts": []}], "tasks.0")])
def test_recorded_options_that_cannot_be_are_refused(dugout, write, key, value, said):
    f = write({"t": sh("exit 1")})
    assert dugout("run", f, "--name", "r", "-v", "/usr:/u", "--env", "A=b").rc == 1
    assert dugout("resume", "r").rc == 1  # what was written is read
    with sqlite3.connect(dugout.home / "dugout.db") as db:
        (text,) = db.execute("select options from run").fetchone()
        db.execute("update run set options = ?", [json.dumps({**json.loads(text), key: value})])
    db.close()
    r = dugout("resume", "r")
    assert r.rc == 4 and "options of the run" in r.err and said in r.err, r
