# SPDX-License-Identifier: Apache-2.0
"""Conditions, loops, exit handlers, nested pipelines: by hand, and random ones against `flow.Expect`."""

import json
import os
import random
import signal

import pytest

import flow
from conftest import wait_until
from flow import Dag, Task

REF = "inputs.parameter_values['%s']"


@pytest.fixture
def run_flow(dugout, tmp_path):
    """Run a tree; -> (result, path -> task of `show --json`)."""

    def run_(root, *args, name="flow"):
        path = tmp_path / (name + ".json")
        path.write_text(flow.compiled(root, name))
        r = dugout("run", path, *args)
        assert r.rc in (0, 1), r
        return r, {t["path"]: t for t in dugout.ok("show", "@latest", "--json").json["tasks"]}

    return run_


def states(tasks) -> dict:
    return {p: t["state"] for p, t in tasks.items()}


def outputs(dugout) -> dict:
    return dugout.ok("show", "@latest", "--json").json["outputs"]["parameters"]


def check(root, tasks, doc=None):
    """The run is what the naive walk says."""
    seen = states(tasks)
    want = flow.Expect(seen)
    state, out = want.dag(root, {}, "")
    assert seen == want.states
    for path, value in want.values.items():
        got = tasks[path]["outputs"]["parameters"]
        assert got == (value or {}), path
    if doc is not None:
        assert doc["state"] == state
        if state == "SUCCEEDED":
            got = {k: v for k, v in doc["outputs"]["parameters"].items() if v is not None}
            assert got == out


def branch(text: str, condition=None, holds=None) -> Task:
    """A guarded group whose one step gives something that depends on `text`."""
    return Task(inp={"coin": ("const", "heads")}, condition=condition or "", holds=holds,
                dag=Dag({"say": Task(inp={"what": ("const", text)})}, {"said": [("say", "Output")]}))


def test_one_branch_runs_and_one_of_gives_its_value(run_flow, dugout):
    chain = Task(dag=Dag(
        {"condition-1": branch("a", "%s == 'tails'" % REF % "coin", lambda i: False),
         "condition-2": branch("b", "!(%s == 'tails') && %s == 'heads'" % (REF % "coin", REF % "coin"),
                               lambda i: True),
         "condition-3": branch("c", "!(%s == 'tails') && !(%s == 'heads')"
                               % (REF % "coin", REF % "coin"), lambda i: False)},
        {"oneof": [("condition-1", "said"), ("condition-2", "said"), ("condition-3", "said")]}))
    root = Dag({"condition-branches-1": chain,
                "use": Task(inp={"x": ("out", "condition-branches-1", "oneof")})},
               {"result": [("use", "Output")]})
    r, tasks = run_flow(root)
    assert r.rc == 0, r
    check(root, tasks, dugout.ok("show", "@latest", "--json").json)
    assert tasks["condition-branches-1/condition-1"]["state"] == "SKIPPED"
    assert "condition is false" in tasks["condition-branches-1/condition-1"]["reason"]
    assert tasks["condition-branches-1/condition-2/say"]["state"] == "SUCCEEDED"
    kinds = {p: t["kind"] for p, t in tasks.items()}
    assert kinds["condition-branches-1"] == "dag"
    assert kinds["condition-branches-1/condition-2"] == "condition"
    # who reads the output sees one line for a branch that was not taken, none for what is in it
    assert "skipped    condition-branches-1/condition-1:" in r.err
    assert "condition-1/say" not in r.err


def test_what_needs_a_skipped_branch_is_skipped_and_the_run_succeeds(run_flow):
    root = Dag({"if": branch("a", "%s == 'tails'" % REF % "coin", lambda i: False),
                "use": Task(inp={"x": ("out", "if", "said")}),
                "then": Task(after=["use"])})
    r, tasks = run_flow(root)
    assert r.rc == 0, r
    check(root, tasks)
    assert tasks["use"]["reason"] == "needs if, which was skipped"
    assert tasks["then"]["reason"] == "needs use, which was skipped"


def test_a_one_of_without_a_taken_branch_fails_its_consumer(run_flow):
    chain = Task(dag=Dag({"c1": branch("a", "false", lambda i: False),
                          "c2": branch("b", "1 > 2", lambda i: False)},
                         {"oneof": [("c1", "said"), ("c2", "said")]}))
    root = Dag({"branches": chain, "use": Task(inp={"x": ("out", "branches", "oneof")})})
    r, tasks = run_flow(root)
    assert r.rc == 1
    check(root, tasks)
    assert "input x is required" in tasks["use"]["error"]


def test_a_condition_without_a_value_fails_the_task_with_its_column(run_flow):
    root = Dag({"if": branch("a", "%s < 3" % REF % "coin", lambda i: False)})
    r, tasks = run_flow(root)
    assert r.rc == 1
    assert tasks["if"]["state"] == "FAILED" and tasks["if/say"]["state"] == "SKIPPED"
    assert 'column 33: "heads" < 3: the two have no order' in tasks["if"]["error"]


@pytest.mark.parametrize("condition", ["1 ==", "exec('x')", "'it's'", "true ? 1 : 2"])
def test_a_malformed_condition_is_refused_with_its_place(dugout, tmp_path, condition):
    f = tmp_path / "bad.json"
    f.write_text(flow.compiled(Dag({"if": branch("a", condition)})))
    r = dugout("run", f)
    assert r.rc == 2 and "bad.json:" in r.err and "column" in r.err, r
    assert len(r.err.splitlines()) == 1


def test_a_loop_collects_by_index_and_its_items_are_typed(run_flow, dugout):
    items = ["a", 2, True, {"k": [1, 2.5]}, "x y", None, 1e300, "{{$.pipeline_job_name}}", "ü'\"\n"]
    root = Dag({"for-loop-1": Task(over=items, dag=Dag({"s": Task(inp={"i": ("in", flow.ITEM)})},
                                                       {"all": [("s", "Output")]}))},
               {"all": [("for-loop-1", "all")]})
    items[5] = ""  # a null item is null; a step cannot tell it from "" (it is required: below)
    r, tasks = run_flow(root)
    assert r.rc == 0, r
    assert tasks["for-loop-1"]["kind"] == "loop"
    check(root, tasks, dugout.ok("show", "@latest", "--json").json)
    assert len(outputs(dugout)["all"]) == len(items)


def test_loops_inside_of_loops_give_lists_of_lists(run_flow, dugout):
    inner = Task(inp={"outer": ("in", flow.ITEM)}, over=["p", "q"],
                 dag=Dag({"s": Task(inp={"i": ("in", flow.ITEM), "o": ("in", "outer")})},
                         {"got": [("s", "Output")]}))
    root = Dag({"outer": Task(over=[1, 2, 3], limit=2,
                              dag=Dag({"inner": inner}, {"got": [("inner", "got")]})),
                "use": Task(inp={"x": ("out", "outer", "got")}, lists={"x"})},
               {"got": [("outer", "got")], "use": [("use", "Output")]})
    r, tasks = run_flow(root)
    assert r.rc == 0, r
    check(root, tasks, dugout.ok("show", "@latest", "--json").json)
    assert [len(x) for x in outputs(dugout)["got"]] == [2, 2, 2]
    assert tasks["outer[2]/inner[1]/s"]["state"] == "SUCCEEDED"


def test_a_loop_over_nothing_succeeds_and_collects_an_empty_list(run_flow, dugout):
    root = Dag({"loop": Task(over=[], dag=Dag({"s": Task(inp={"i": ("in", flow.ITEM)})},
                                              {"all": [("s", "Output")]})),
                "use": Task(inp={"x": ("out", "loop", "all")}, lists={"x"})},
               {"all": [("loop", "all")]})
    r, tasks = run_flow(root)
    assert r.rc == 0 and states(tasks) == {"loop": "SUCCEEDED", "use": "SUCCEEDED"}
    assert outputs(dugout)["all"] == []


def test_iterations_that_skip_the_producer_are_left_out(run_flow, dugout):
    guard = Task(inp={"i": ("in", flow.ITEM)}, condition="%s != 'b'" % REF % "i",
                 holds=lambda i: i["i"] != "b",
                 dag=Dag({"s": Task(inp={"i": ("in", "i")})}, {"got": [("s", "Output")]}))
    root = Dag({"loop": Task(over=["a", "b", "c"], dag=Dag({"if": guard}, {"got": [("if", "got")]}))},
               {"got": [("loop", "got")]})
    r, tasks = run_flow(root)
    assert r.rc == 0, r
    check(root, tasks, dugout.ok("show", "@latest", "--json").json)
    assert len(outputs(dugout)["got"]) == 2


def test_a_list_may_come_as_json_text(run_flow, dugout):
    root = Dag({"loop": Task(inp={"l": ("const", '["a", "b"]')}, over="l",
                             dag=Dag({"s": Task(inp={"i": ("in", flow.ITEM)})}))})
    r, tasks = run_flow(root)
    assert r.rc == 0 and "loop[1]/s" in tasks


@pytest.mark.parametrize("text", ["3", '{"a":1}', "no json"])
def test_items_that_are_no_list_fail_the_loop(run_flow, text):
    root = Dag({"loop": Task(inp={"l": ("const", text)}, over="l",
                             dag=Dag({"s": Task(inp={"i": ("in", flow.ITEM)})}))})
    r, tasks = run_flow(root)
    assert r.rc == 1 and tasks["loop"]["state"] == "FAILED"
    assert tasks["loop"]["error"].startswith("the items of the loop")


def test_a_failed_iteration_ends_the_supply_and_the_others_finish(run_flow):
    # with one at a time, the second iteration fails and the third never begins
    bad = next(c for c in "abcdefgh" if flow.step("s", Task(inp={"i": 0}, fails_on="01234567"),
                                                  {"i": c}) is None)
    good = next(c for c in "abcdefgh" if flow.step("s", Task(inp={"i": 0}, fails_on="01234567"),
                                                   {"i": c}))
    root = Dag({"loop": Task(over=[good, bad, good], limit=1, dag=Dag(
        {"s": Task(inp={"i": ("in", flow.ITEM)}, fails_on="01234567")})), "after": Task(after=["loop"])})
    r, tasks = run_flow(root)
    assert r.rc == 1
    assert states(tasks) == {"loop": "FAILED", "loop[0]/s": "SUCCEEDED", "loop[1]/s": "FAILED",
                             "after": "SKIPPED"}
    assert tasks["loop"]["error"].startswith("task loop[1]/s failed: ")


def test_parallelism_bounds_what_is_under_way(dugout, write_steps):
    r = dugout.ok("run", write_steps("echo begun; sleep 0.1;", limit=1, n=4), "--jobs", "4")
    tasks = [t for t in dugout.ok("show", "@latest", "--json").json["tasks"]
             if t["kind"] == "container"]
    spans = sorted((t["started"], t["finished"]) for t in tasks)
    assert len(spans) == 4
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:])), spans


@pytest.fixture
def write_steps(tmp_path):
    """A loop of `n` steps, `limit` at a time, that do `first` before what they are for."""

    def write_(first, limit, n):
        spec = json.loads(flow.compiled(Dag({"loop": Task(over=list(range(n)), limit=limit, dag=Dag(
            {"s": Task(inp={"i": ("in", flow.ITEM)})}))})))
        for x in spec["deploymentSpec"]["executors"].values():
            x["container"]["command"][2] = first + flow.STEP
        path = tmp_path / "steps.json"
        path.write_text(json.dumps(spec))
        return path
    return write_


# ---- exit handlers ------------------------------------------------------------------------------


def handler(fails: bool, **more) -> Dag:
    """An exit handler around one step, its exit task reads the final status."""
    return Dag({"exit-handler-1": Task(dag=Dag({"fit": Task(fails_on="0123456789abcdef" if fails else "")})),
                "notice": Task(after=["exit-handler-1"], any_end=True, **more)})


def with_status(root: Dag, tmp_path, script='printf "%s" "$1"') -> str:
    """The compiled tree, its task `notice` given the status of exit-handler-1."""
    spec = json.loads(flow.compiled(root))
    node = spec["root"]["dag"]["tasks"]["notice"]
    comp = spec["components"][node["componentRef"]["name"]]
    comp["inputDefinitions"] = {"parameters": {"status": {"parameterType": "TASK_FINAL_STATUS",
                                                          "isOptional": True}}}
    node["inputs"] = {"parameters": {"status": {"taskFinalStatus": {"producerTask": "exit-handler-1"}}}}
    container = spec["deploymentSpec"]["executors"][comp["executorLabel"]]["container"]
    comp.pop("outputDefinitions")
    container["command"] = ["sh", "-c", script, "notice"]
    container["args"] = ["{{$.inputs.parameters['status']}}"]
    path = tmp_path / "status.json"
    path.write_text(json.dumps(spec))
    return path


@pytest.mark.parametrize("fails", [False, True])
def test_the_exit_task_runs_and_knows_how_it_went(dugout, tmp_path, fails):
    r = dugout("run", with_status(handler(fails), tmp_path), "--name", "e%d" % fails)
    assert r.rc == (1 if fails else 0), r
    status = json.loads(dugout.ok("logs", "@latest/notice").out)
    assert status["state"] == ("FAILED" if fails else "COMPLETE")
    assert status["pipelineTaskName"] == "exit-handler-1"
    assert status["pipelineJobResourceName"].startswith("flow-")
    if fails:
        assert status["error"]["message"].startswith("task exit-handler-1/fit failed: ")
    else:
        assert status["error"] == {}
    assert dugout.states()["notice"] == "SUCCEEDED"


def test_the_words_of_the_sdk_can_be_asked_for(dugout, tmp_path):
    path = with_status(handler(False), tmp_path)
    for flags, state in ([], "COMPLETE"), (["--final-status", "SUCCEEDED"], "SUCCEEDED"):
        dugout.ok("run", path, *flags)
        assert json.loads(dugout.ok("logs", "@latest/notice").out)["state"] == state
    (dugout.home / "config.yaml").write_text("final_status: SUCCEEDED\n")
    dugout.ok("run", path, "--no-cache")
    assert json.loads(dugout.ok("logs", "@latest/notice").out)["state"] == "SUCCEEDED"
    (dugout.home / "config.yaml").write_text("final_status: GOOD\n")
    r = dugout("run", path)
    assert r.rc == 2 and "COMPLETE or SUCCEEDED" in r.err, r


def test_an_exit_task_that_is_a_pipeline_runs_whole_after_a_failure(run_flow):
    root = handler(True, dag=Dag({"a": Task(), "b": Task(inp={"x": ("out", "a", "Output")})}))
    root.tasks["other"] = Task(after=["exit-handler-1"])
    r, tasks = run_flow(root)
    assert r.rc == 1
    assert states(tasks) == {"exit-handler-1": "FAILED", "exit-handler-1/fit": "FAILED",
                             "notice": "SUCCEEDED", "notice/a": "SUCCEEDED",
                             "notice/b": "SUCCEEDED", "other": "SKIPPED"}


def test_a_failing_exit_task_fails_the_run(run_flow):
    root = handler(False, fails_on="0123456789abcdef")
    r, tasks = run_flow(root)
    assert r.rc == 1 and tasks["notice"]["state"] == "FAILED"


def test_ignored_failures_leave_the_default_and_still_fail_the_run(run_flow):
    root = Dag({"bad": Task(fails_on="0123456789abcdef"),
                "use": Task(inp={"x": ("out", "bad", "Output")}, optional={"x"}, any_end=True)})
    r, tasks = run_flow(root)
    assert r.rc == 1
    check(root, tasks)
    assert tasks["use"]["state"] == "SUCCEEDED"
    assert tasks["use"]["inputs"]["parameters"] == {"x": "none"}


def is_running(dugout, task) -> bool:
    return dugout("show", "@latest", "--json").rc == 0 and dugout.states().get(task) == "RUNNING"


def interruptible(tmp_path, notice="exit 0"):
    """A handler whose step sleeps for an hour."""
    path = with_status(handler(False), tmp_path, script=notice)
    spec = json.loads(path.read_text())
    for label, x in spec["deploymentSpec"]["executors"].items():
        if "fit" in label:
            x["container"]["command"] = ["sleep", "3600"]
    path.write_text(json.dumps(spec))
    return path


def test_a_canceled_run_still_runs_its_exit_task(dugout, tmp_path):
    p = dugout.start("run", interruptible(tmp_path, 'printf "%s" "$1"'))
    wait_until(lambda: is_running(dugout, "exit-handler-1/fit"))
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=300)
    assert p.returncode == 130, err
    assert dugout.states() == {"exit-handler-1": "CANCELED", "exit-handler-1/fit": "CANCELED",
                               "notice": "SUCCEEDED"}
    assert json.loads(dugout.ok("logs", "@latest/notice").out)["state"] == "CANCELED"
    assert dugout.ok("show", "@latest", "--json").json["state"] == "CANCELED"


def test_told_twice_the_exit_task_is_stopped_too(dugout, tmp_path):
    p = dugout.start("run", interruptible(tmp_path, "sleep 3600"))
    wait_until(lambda: is_running(dugout, "exit-handler-1/fit"))
    p.send_signal(signal.SIGTERM)
    wait_until(lambda: is_running(dugout, "notice"))
    p.send_signal(signal.SIGTERM)
    _, err = p.communicate(timeout=300)
    assert p.returncode == 143, err
    assert dugout.states()["notice"] == "CANCELED"


def test_the_exit_task_runs_after_the_time_out(dugout, tmp_path):
    r = dugout("run", interruptible(tmp_path), "--timeout", "1s")
    assert r.rc == 124, r
    assert dugout.states()["notice"] == "SUCCEEDED"
    assert dugout.states()["exit-handler-1/fit"] in ("FAILED", "CANCELED")


# ---- the cross product -----------------------------------------------------------------------------


def test_retry_in_a_loop_in_a_handler_in_a_pipeline_cached(dugout, tmp_path):
    """retry x loop x exit handler x nested x cached: a step that fails once in each iteration."""
    once = ('f=$DUGOUT_CHECKPOINT_DIR/tried; [ -e "$f" ] || { : >"$f"; echo first; exit 9; }; '
            + flow.STEP)
    body = Dag({"s": Task(inp={"i": ("in", flow.ITEM)}, cache=True,
                          retry={"maxRetryCount": 1, "backoffDuration": "0s"})},
               {"got": [("s", "Output")]})
    nested = Task(dag=Dag({"loop": Task(over=["a", "b"], dag=body)}, {"got": [("loop", "got")]}))
    root = Dag({"exit-handler-1": Task(dag=Dag({"nested": nested})),
                "notice": Task(after=["exit-handler-1"], any_end=True, cache=True)})
    spec = json.loads(flow.compiled(root))
    for label, x in spec["deploymentSpec"]["executors"].items():
        if label.startswith("exec-comp-s-"):
            x["container"]["command"][2] = once
    f = tmp_path / "cross.json"
    f.write_text(json.dumps(spec))
    dugout.ok("run", f)
    tasks = {t["path"]: t for t in dugout.ok("show", "@latest", "--json").json["tasks"]}
    paths = ["exit-handler-1/nested/loop[%d]/s" % i for i in (0, 1)]
    assert [tasks[p]["attempts"] for p in paths] == [2, 2]
    r = dugout.ok("run", f)
    assert "nothing new" in r.err
    tasks = {t["path"]: t for t in dugout.ok("show", "@latest", "--json").json["tasks"]}
    assert all(tasks[p]["cached"] for p in paths + ["notice"])


def test_a_wide_loop_and_a_deep_chain(run_flow, dugout):
    root = Dag({"wide": Task(over=list(range(1000)), dag=Dag({"s": Task(inp={"i": ("in", flow.ITEM)},
                                                                        cache=True)}))})
    r, tasks = run_flow(root, "--jobs", "8", name="wide")
    assert r.rc == 0 and len(tasks) == 1001
    chain = {"t0": Task()}
    for i in range(1, 200):
        chain["t%d" % i] = Task(inp={"x": ("out", "t%d" % (i - 1), "Output")})
    root = Dag(chain, {"last": [("t199", "Output")]})
    r, tasks = run_flow(root, name="deep")
    assert r.rc == 0
    check(root, tasks, dugout.ok("show", "@latest", "--json").json)
    nest = Dag({"s": Task(inp={"x": ("in", "x")})}, {"o": [("s", "Output")]})
    for i in range(60):
        nest = Dag({"d%d" % i: Task(inp={"x": ("in", "x") if i < 59 else ("const", "v")}, dag=nest)},
                   {"o": [("d%d" % i, "o")]})
    r, tasks = run_flow(nest, name="nested")
    assert r.rc == 0
    check(nest, tasks, dugout.ok("show", "@latest", "--json").json)


# ---- resume ------------------------------------------------------------------------------------------


def test_resume_does_only_what_is_left_of_a_loop(dugout, tmp_path):
    """Iteration "b" fails until a file appears; the others are not run again."""
    gate = tmp_path / "gate"
    gate.mkdir()
    body = Dag({"s": Task(inp={"i": ("in", flow.ITEM)}), "t": Task(inp={"x": ("out", "s", "Output")})},
               {"got": [("t", "Output")]})
    root = Dag({"loop": Task(over=["a", "b", "c"], dag=body),
                "use": Task(inp={"x": ("out", "loop", "got")}, lists={"x"})}, {"r": [("use", "Output")]})
    spec = json.loads(flow.compiled(root))
    for label, x in spec["deploymentSpec"]["executors"].items():
        if label.startswith("exec-comp-s-"):
            x["container"]["command"][2] = '[ "$1" != b ] || [ -e /gate/open ] || exit 7;' + flow.STEP
    f = tmp_path / "gated.json"
    f.write_text(json.dumps(spec))
    r = dugout("run", f, "-v", "%s:/gate" % gate)
    assert r.rc == 1, r
    first = {t["path"]: t for t in dugout.ok("show", "@latest", "--json").json["tasks"]}
    assert first["loop[1]/s"]["state"] == "FAILED" and first["use"]["state"] == "SKIPPED"
    (gate / "open").touch()
    r = dugout.ok("resume", "@latest")
    doc = dugout.ok("show", "@latest", "--json").json
    tasks = {t["path"]: t for t in doc["tasks"]}
    check(root, tasks, doc)
    assert tasks["loop[1]/s"]["attempts"] == 2
    assert tasks["loop[0]/s"]["attempts"] == 1
    assert tasks["loop[0]/s"]["finished"] == first["loop[0]/s"]["finished"]


def test_resume_from_a_task_in_an_iteration_does_what_needs_it_again(dugout, tmp_path):
    body = Dag({"s": Task(inp={"i": ("in", flow.ITEM)}), "t": Task(inp={"x": ("out", "s", "Output")})},
               {"got": [("t", "Output")]})
    root = Dag({"loop": Task(over=["a", "b"], dag=body), "other": Task(),
                "use": Task(inp={"x": ("out", "loop", "got")}, lists={"x"})})
    f = tmp_path / "again.json"
    f.write_text(flow.compiled(root))
    dugout.ok("run", f)
    dugout.ok("resume", "@latest", "--from", "loop[1]/s")
    doc = dugout.ok("show", "@latest", "--json").json
    attempts = {t["path"]: t["attempts"] for t in doc["tasks"] if t["kind"] == "container"}
    # a run that had succeeded stays as it is: this is a new one, which takes over what is not redone
    assert attempts == {"loop[0]/s": 0, "loop[0]/t": 0, "loop[1]/s": 1, "loop[1]/t": 1, "other": 0,
                        "use": 1}
    check(root, {t["path"]: t for t in doc["tasks"]}, doc)
    r = dugout("resume", "@latest", "--from", "nowhere")
    assert r.rc == 2 and 'no task "nowhere"' in r.err, r


def test_a_killed_engine_is_resumed_inside_of_a_loop(dugout, write_steps, tmp_path):
    """Iterations 2 and 3 are under way when it dies, and until somebody else has adopted them."""
    gate = tmp_path / "gate"
    gate.mkdir()
    hold = ': >/gate/"$1"; case $1 in [23]) until [ -e /gate/open ]; do sleep 0.1; done;; esac;'
    p = dugout.start("run", write_steps(hold, limit=2, n=6), "--jobs", "2", "-v", "%s:/gate:rw" % gate)
    wait_until(lambda: (gate / "2").exists() and (gate / "3").exists())
    os.kill(p.pid, signal.SIGKILL)
    p.wait()
    said = tmp_path / "said"
    p = dugout.start("resume", "@latest", stderr=open(said, "w"))
    wait_until(lambda: said.read_text().count("adopted") == 2)
    (gate / "open").touch()
    assert p.wait(300) == 0, said.read_text()
    tasks = dugout.ok("show", "@latest", "--json").json["tasks"]
    assert all(t["state"] == "SUCCEEDED" for t in tasks) and len(tasks) == 7
    assert all(t["attempts"] == 1 for t in tasks if t["kind"] == "container")


# ---- random trees ---------------------------------------------------------------------------------------


def random_dag(rnd, depth, n_inputs, name) -> Dag:
    """Steps, branches and loops in random order; inputs of the Dag are in0, in1 ..."""
    tasks = {}
    for i in range(rnd.randint(1, 4)):
        key = "%s%d" % (name, i)
        inp, optional, lists = {}, set(), set()
        any_end = rnd.random() < 0.12 and bool(tasks)
        for k in range(rnd.randint(0, 2)):
            arg = "in%d" % k
            pick = rnd.random()
            givers = [(t, o) for t in tasks for o in outputs_of(tasks[t])]
            if pick < 0.6 and givers:
                inp[arg] = ("out", *rnd.choice(givers))
            elif pick < 0.8 and n_inputs:
                inp[arg] = ("in", "in%d" % rnd.randrange(n_inputs))
            else:
                inp[arg] = ("const", rnd.choice(["", "a b", "{{x", "'\"", "ü", "1e300"]))
            if any_end:
                optional.add(arg)
        t = Task(inp=inp, optional=optional, any_end=any_end,
                 after=[a for a in tasks if rnd.random() < 0.2], cache=rnd.random() < 0.5)
        kind = rnd.random()
        if depth == 0 or kind < 0.5:
            t.fails_on = "0" if rnd.random() < 0.3 else ""
        else:
            if kind < 0.7 and "in0" in inp:
                t.condition, t.holds = "%s < '8'" % REF % "in0", lambda x: x["in0"] < "8"
            elif kind < 0.85:
                t.over = rnd.choice([["p"], ["p", "q", "r"], []])
                steps = [s for s in tasks if not tasks[s].dag]
                if steps and rnd.random() < 0.6:
                    t.inp["items"] = ("out", rnd.choice(steps), "List")
                    t.lists.add("items")
                    t.over = "items"
                    if any_end:
                        t.any_end = False  # a list has no default
                        t.optional.clear()
                t.limit = rnd.choice([0, 0, 1, 2])
            t.dag = random_dag(rnd, depth - 1, len([k for k in inp if k != "items"]), key + "x")
        tasks[key] = t
    outs = {}
    givers = [(t, o) for t in tasks for o in outputs_of(tasks[t])]
    if givers:
        outs["o"] = rnd.sample(givers, rnd.randint(1, min(2, len(givers))))
    return Dag(tasks, outs)


def outputs_of(t: Task):
    return list(t.dag.outputs) if t.dag else ["Output"]


N_RANDOM = int(os.environ.get("DUGOUT_RANDOM_GRAPHS", "60"))


def test_random_trees_come_to_what_the_naive_walk_says(dugout, tmp_path):
    base = int(os.environ.get("DUGOUT_RANDOM_SEED", "20261127"))
    for seed in range(base, base + N_RANDOM):
        root = random_dag(random.Random(seed), 2, 0, "t")
        f = tmp_path / "random.json"
        f.write_text(flow.compiled(root, "random"))
        r = dugout("run", f, "--quiet", "--no-cache" if seed % 3 == 0 else "--jobs=3")
        assert r.rc in (0, 1), (seed, r)
        doc = dugout.ok("show", "@latest", "--json").json
        try:
            check(root, {t["path"]: t for t in doc["tasks"]}, doc)
        except AssertionError as e:
            raise AssertionError("seed %d (DUGOUT_RANDOM_SEED): %s" % (seed, e)) from e
