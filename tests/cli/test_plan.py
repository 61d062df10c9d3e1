# SPDX-License-Identifier: Apache-2.0
"""plan: what would run, what is known, what is missing, what differs; and that it is what runs."""
import json
import subprocess

import pytest

import flow
from conftest import ROOT, out_param, pipeline, sh
from flow import Dag, Task

SAY = 'mkdir -p "$(dirname "$1")"; printf %s "$0" >"$1"'


def say(text, **more):
    return {**sh(SAY, text, out_param("y")), "out": {"y": "STRING"}, **more}


def plan(dugout, *args, rc=0):
    r = dugout("plan", *args, "--json")
    assert r.rc == rc, r
    return r.json


def would(doc):
    return {t["path"]: ("maybe " if t["maybe"] else "") + t["would"] for t in doc["tasks"]}


# ---- chains and the cache ---------------------------------------------------------------------


@pytest.fixture
def chain(write):
    def make(text="a"):
        return write({"a": say(text), "b": say("{{$.inputs.parameters['x']}}", inp={"x": "a.y"}),
                      "c": {**sh("true"), "after": ["b"]}})
    return make


def test_a_plan_follows_the_cache_as_far_as_it_goes(dugout, chain):
    assert would(plan(dugout, chain())) == {"a": "run", "b": "depends", "c": "run"}
    dugout.ok("run", chain(), "--name", "r")
    doc = plan(dugout, chain())
    assert would(doc) == {"a": "cached", "b": "cached", "c": "cached"}
    assert doc["tasks"][0]["from"] == {"run": "r", "task": "a"}
    assert doc["counts"]["cached"] == 3 and doc["missing"] == []
    assert would(plan(dugout, chain("z"))) == {"a": "run", "b": "depends", "c": "cached"}
    assert would(plan(dugout, chain(), "--refresh=a")) == \
        {"a": "run", "b": "depends", "c": "cached"}
    assert set(would(plan(dugout, chain(), "--no-cache")).values()) == {"run", "depends"}
    assert would(plan(dugout, chain(), "-v", "a=/etc:/x"))["a"] == "run"
    assert would(plan(dugout, chain(), "--env", "A=1"))["a"] == "run"


def test_a_plan_records_nothing_and_runs_nothing(dugout, chain):
    plan(dugout, chain())
    assert dugout.ok("runs", "--json").json == []
    assert not list(dugout.home.glob("runs/*"))


def test_the_text_says_why_and_counts(dugout, chain):
    dugout.ok("run", chain(), "--name", "r")
    r = dugout.ok("plan", chain("z"))
    lines = [" ".join(line.split()) for line in r.out.splitlines()]
    assert lines[0] == "TASK WOULD"
    assert lines[1:] == ["a run tiny", "b run, unless known tiny", "c be cached from r"]
    assert "3 tasks: 1 cached, 1 to run, 1 to run unless known" in r.err


def test_what_cannot_start_is_found(dugout, write):
    f = write({"t": {**sh("true", "{{$.inputs.parameters['x']}}"), "inp": {"x": "x"}},
               "u": {**sh("true"), "after": ["t"]}},
              inputs={"parameters": {"x": {"parameterType": "STRING"}}})
    params = f.parent / "params.json"
    params.write_text(json.dumps({"x": "x" * 200000}))
    doc = plan(dugout, f, "--params", params, rc=3)
    assert would(doc) == {"t": "fail", "u": "skip"}
    assert "200000 bytes" in doc["tasks"][0]["reason"]


def test_wrong_input_is_refused_as_by_run(dugout, chain):
    for args, code in ((["-p", "x=1"], 2), (["--retries", "nope=1"], 2), (["--tag", "q:y=a:b"], 2)):
        assert dugout("plan", chain(), *args).rc == code


# ---- groups -------------------------------------------------------------------------------------


def groups():
    """pick (a constant) -> If/Else on it; a static loop, a loop over a list that a task makes."""
    base = json.loads(pipeline({
        "pick": say("left"), "list": {**sh(SAY, "[1, 2, 3]", out_param("y")), "out": {"y": "LIST"}},
        "leaf": {**sh("echo leaf"), "inp": {"x": "=1"}},
    }, name="groups"))
    leaf = base["root"]["dag"]["tasks"].pop("leaf")
    body = {"dag": {"tasks": {"leaf": {k: v for k, v in leaf.items() if k != "inputs"}}}}
    item = {"inputDefinitions": {"parameters": {"i": {"parameterType": "NUMBER_INTEGER"}}}}

    def branch(name, op):
        base["components"]["comp-" + name] = {
            **body, "inputDefinitions": {"parameters": {"p": {"parameterType": "STRING"}}}}
        base["root"]["dag"]["tasks"][name] = {
            "componentRef": {"name": "comp-" + name}, "dependentTasks": ["pick"],
            "inputs": {"parameters": {"p": {"taskOutputParameter": {
                "producerTask": "pick", "outputParameterKey": "y"}}}},
            "triggerPolicy": {"condition": "inputs.parameter_values['p'] %s 'left'" % op}}

    base["components"]["comp-leaf"].pop("inputDefinitions")
    branch("condition-1", "==")
    branch("condition-2", "!=")
    base["components"]["comp-loop"] = {**body, **item}
    base["root"]["dag"]["tasks"]["for-loop-1"] = {
        "componentRef": {"name": "comp-loop"},
        "parameterIterator": {"items": {"raw": "[1, 2]"}, "itemInput": "i"}}
    base["components"]["comp-loop-2"] = {**body, "inputDefinitions": {"parameters": {
        "i": {"parameterType": "NUMBER_INTEGER"}, "l": {"parameterType": "LIST"}}}}
    base["root"]["dag"]["tasks"]["for-loop-2"] = {
        "componentRef": {"name": "comp-loop-2"}, "dependentTasks": ["list"],
        "inputs": {"parameters": {"l": {"taskOutputParameter": {
            "producerTask": "list", "outputParameterKey": "y"}}}},
        "parameterIterator": {"items": {"inputParameter": "l"}, "itemInput": "i"}}
    return base


def test_branches_and_loops_are_followed_as_far_as_they_are_known(dugout, tmp_path):
    f = tmp_path / "g.json"
    f.write_text(json.dumps(groups()))
    doc = plan(dugout, f)
    assert would(doc) == {
        "pick": "run", "list": "run", "condition-1": "maybe run", "condition-2": "maybe run",
        "condition-1/leaf": "maybe run", "condition-2/leaf": "maybe run", "for-loop-1": "run",
        "for-loop-1[0]/leaf": "run", "for-loop-1[1]/leaf": "run", "for-loop-2": "run",
        "for-loop-2[?]/leaf": "depends"}
    loops = {t["path"]: t["iterations"] for t in doc["tasks"] if t["kind"] == "loop"}
    assert loops == {"for-loop-1": 2, "for-loop-2": None}
    reason = {t["path"]: t["reason"] for t in doc["tasks"]}["condition-1"]
    assert reason == "if inputs.parameter_values['p'] == 'left'"

    dugout.ok("run", f)
    ran = dugout.states()
    doc = plan(dugout, f)
    assert would(doc) == {
        "pick": "cached", "list": "cached", "condition-1": "run", "condition-2": "skip",
        "condition-1/leaf": "cached", "condition-2/leaf": "skip", "for-loop-1": "run",
        "for-loop-1[0]/leaf": "cached", "for-loop-1[1]/leaf": "cached", "for-loop-2": "run",
        "for-loop-2[0]/leaf": "cached", "for-loop-2[1]/leaf": "cached",
        "for-loop-2[2]/leaf": "cached"}
    # what the plan says is what a run does
    assert {p: s for p, s in ran.items() if s != "SUCCEEDED"} == \
        {p: "SKIPPED" for p, w in would(doc).items() if w == "skip"}
    assert set(ran) == set(would(doc))
    dugout.ok("run", f)
    after = dugout.ok("show", "@latest", "--json").json["tasks"]
    assert {t["path"] for t in after if t["cached"]} == \
        {p for p, w in would(doc).items() if w == "cached"}


def test_the_graph_is_graphviz(dugout, tmp_path):
    f = tmp_path / "g.json"
    f.write_text(json.dumps(groups()))
    out = dugout.ok("plan", f, "--dot").out
    assert out.startswith("digraph plan {") and out.endswith("}\n")
    assert '"pick" -> "condition-1";' in out and '"for-loop-1" -> "for-loop-1[0]/leaf"' in out
    assert out.count("{") == out.count("}")
    try:
        subprocess.run(["dot", "-Tsvg"], input=out, text=True, check=True, capture_output=True)
    except FileNotFoundError:
        pass  # the shape was looked at above


# ---- what is missing -----------------------------------------------------------------------------


def test_all_images_that_are_missing_are_named_at_once(dugout, write):
    f = write({"a": {**sh("true"), "image": "ghcr.io/x/y:1"}, "b": {**sh("true"), "image": "alpine"},
               "c": {**sh("true"), "image": "alpine", "after": ["a"]}, "d": sh("true")})
    doc = plan(dugout, f, rc=3)
    assert sorted(doc["images"]) == ["alpine", "ghcr.io/x/y:1"] and len(doc["missing"]) == 3
    assert would(doc)["d"] == "run"
    r = dugout("plan", f)
    assert r.rc == 3 and r.err.count("missing:") == 2 and "and 1 more" in r.err
    r = dugout("plan", f, "--missing")
    assert r.rc == 3
    lines = [x for x in r.out.splitlines() if not x.startswith("#")]
    assert len(lines) == 2
    assert "'docker://docker.io/library/alpine:latest' " \
        "'oci-archive:docker.io_library_alpine_latest.tar:docker.io/library/alpine:latest'" in r.out
    assert "'docker://ghcr.io/x/y:1' 'oci-archive:ghcr.io_x_y_1.tar:ghcr.io/x/y:1'" in r.out
    assert "dugout image load ghcr.io_x_y_1.tar --name ghcr.io/x/y:1" in r.out
    # it is a shell script
    subprocess.run(["sh", "-n"], input=r.out, text=True, check=True)


def test_an_image_named_by_a_parameter_is_looked_for(dugout, write):
    f = write({"t": {**sh("true"), "image": "{{$.inputs.parameters['image']}}",
                     "inp": {"image": "image"}}},
              inputs={"parameters": {"image": {"parameterType": "STRING"}}})
    assert plan(dugout, f, "-p", "image=tiny")["missing"] == []
    doc = plan(dugout, f, "-p", "image=nowhere:1", rc=3)
    assert doc["images"] == ["nowhere:1"] and "task t: image nowhere:1" in doc["missing"][0]


def test_a_gpu_that_is_not_here_is_missing(dugout, write):
    f = write({"t": {**sh("true"), "resources": {"accelerator": {
        "resourceType": "nvidia.com/gpu", "resourceCount": "64"}}}})
    doc = plan(dugout, f, rc=3)
    assert "GPU" in doc["missing"][0] and doc["images"] == []
    r = dugout("plan", f, "--missing")
    assert [x for x in r.out.splitlines() if not x.startswith("#")] == []
    assert "GPU" in r.out
    assert plan(dugout, f, "--gpus", "none")["missing"] == []


def test_nothing_missing_is_an_empty_list(dugout, chain):
    r = dugout.ok("plan", chain(), "--missing")
    assert r.out == "" and "nothing is missing" in r.err


def test_wheels_are_asked_for_with_the_image_s_python(python_home, tmp_path):
    f = ROOT / "pipelines/churn-offline/churn_offline.yaml"
    doc = plan(python_home, f, rc=3)
    names = {w["requirement"].split("=")[0] for w in doc["wheels"]}
    assert names == {"scikit-learn", "pandas", "joblib"}
    python = {w["python_version"] for w in doc["wheels"]}
    assert len(python) == 1 and python.pop().startswith("3.")
    r = python_home("plan", f, "--missing")
    line = next(x for x in r.out.splitlines() if "scikit-learn" in x)
    assert line.startswith("pip download --dest wheels --only-binary=:all: --implementation cp "
                           "--python-version 3.")
    assert "--platform manylinux2014_" in line
    subprocess.run(["sh", "-n"], input=r.out, text=True, check=True)


def test_wheels_of_an_image_that_is_missing_are_said_with_a_doubt(dugout):
    r = dugout("plan", ROOT / "pipelines/churn-offline/churn_offline.yaml", "--missing")
    assert r.rc == 3 and "skopeo" in r.out and "# what image python:3.12-slim has not" in r.out
    assert "\npip download --dest wheels --only-binary=:all: 'scikit-learn" in r.out
    assert r.out.count("pip download") == 1


# ---- parts that are known ---------------------------------------------------------------------------


def partly_known(condition):
    """`d` is never cached; the group and the loop get something of it beside what is known."""
    k, d = ("out", "k", "Output"), ("out", "d", "Output")
    inner = {"x": Task(inp={"a": ("in", "a")}, cache=True),
             "y": Task(inp={"b": ("in", "b")}, cache=True)}
    return Dag({
        "k": Task(cache=True), "d": Task(),
        "g": Task(inp={"a": k, "b": d}, dag=Dag(inner, {"x": [("x", "Output")], "y": [("y", "Output")]})),
        "use-x": Task(inp={"v": ("out", "g", "x")}, cache=True),
        "use-y": Task(inp={"v": ("out", "g", "y")}, cache=True),
        "loop": Task(inp={"b": d}, over=["p", "q"], dag=Dag(
            {"s": Task(inp={"i": ("in", flow.ITEM)}, cache=True),
             "t": Task(inp={"i": ("in", flow.ITEM), "b": ("in", "b")}, cache=True)},
            {"s": [("s", "Output")]})),
        "use-s": Task(inp={"v": ("out", "loop", "s")}, cache=True, lists={"v"}),
        "if": Task(inp={"a": k, "b": d}, condition=condition, holds=lambda i: False,
                   dag=Dag({"z": Task()})),
    })


def test_what_does_not_use_the_unknown_is_followed(dugout, tmp_path):
    a, b = "inputs.parameter_values['a']", "inputs.parameter_values['b']"
    f = tmp_path / "f.json"
    f.write_text(flow.compiled(partly_known("%s == 'no' && %s == 'no'" % (a, b))))
    dugout.ok("run", f)
    would = {t["path"]: t["would"] for t in dugout.ok("plan", f, "--json").json["tasks"]}
    assert would == {
        "k": "cached", "d": "run", "g": "run", "g/x": "cached", "g/y": "depends",
        "use-x": "cached", "use-y": "depends", "loop": "run", "loop[0]/s": "cached",
        "loop[0]/t": "depends", "loop[1]/s": "cached", "loop[1]/t": "depends", "use-s": "cached",
        "if": "skip", "if/z": "skip"}


@pytest.mark.parametrize("condition", ["{a} != 'no' && {b} == 'no'", "{a} == 'no' || {b} == 'no'",
                                       "'b' in inputs.parameter_values", "{b} == 'no'"])
def test_a_condition_that_the_unknown_decides_stays_open(dugout, tmp_path, condition):
    f = tmp_path / "f.json"
    f.write_text(flow.compiled(partly_known(condition.format(
        a="inputs.parameter_values['a']", b="inputs.parameter_values['b']"))))
    dugout.ok("run", f)
    tasks = {t["path"]: t for t in dugout.ok("plan", f, "--json").json["tasks"]}
    assert tasks["if"]["maybe"] and tasks["if"]["reason"].startswith("if ")
    assert tasks["if/z"]["maybe"] and tasks["if/z"]["would"] == "run"


def test_a_branch_that_may_give_an_output_keeps_it_open(dugout, tmp_path):
    guard = Task(inp={"b": ("in", "b"), "i": ("in", flow.ITEM)},
                 condition="inputs.parameter_values['b'] != 'no'", holds=lambda i: True,
                 dag=Dag({"s": Task(inp={"i": ("in", "i")}, cache=True)}, {"s": [("s", "Output")]}))
    root = Dag({"d": Task(),
                "loop": Task(inp={"b": ("out", "d", "Output")}, over=["p", "q"],
                             dag=Dag({"if": guard}, {"s": [("if", "s")]})),
                "use": Task(inp={"v": ("out", "loop", "s")}, cache=True, lists={"v"})})
    f = tmp_path / "f.json"
    f.write_text(flow.compiled(root))
    dugout.ok("run", f)
    would = {t["path"]: (t["would"], t["maybe"])
             for t in dugout.ok("plan", f, "--json").json["tasks"]}
    assert would["loop[0]/if/s"] == ("cached", True)
    assert would["use"] == ("depends", False), "how long the list is depends on d"


# ---- two specs ------------------------------------------------------------------------------------


def differences(dugout, new, old):
    return {d["task"]: (d["change"], {f["field"]: (f["before"], f["after"]) for f in d["fields"]})
            for d in dugout.ok("plan", new, "--against", old, "--json").json}


def test_equal_specs_have_no_difference(dugout, chain, tmp_path):
    f = chain()
    g = tmp_path / "g.json"
    g.write_text(json.dumps(json.loads(f.read_text())))
    assert dugout.ok("plan", f, "--against", g).out == "no difference\n"
    dugout.ok("run", f, "--name", "r")
    assert dugout.ok("plan", g, "--against", "r").out == "no difference\n"


def test_every_field_that_differs_is_named(dugout, write, tmp_path):
    a = {"gone": sh("true"), "t": {**sh("one\ntwo", "x"), "env": {"A": "1", "B": "2"},
                                   "retry": {"maxRetryCount": 1},
                                   "resources": {"resourceMemoryLimit": "1Gi"}},
         "u": {**sh("true"), "inp": {"x": "p"}, "after": ["gone"]}}
    b = {"t": {**sh("one\n2wo", "x", "y"), "env": {"A": "1", "B": "3", "C": "4"}, "image": "other",
               "cache": False, "resources": {"resourceMemoryLimit": "2Gi"}},
         "u": {**sh("true"), "inp": {"x": "=7"}, "after": ["t"]}, "new": sh("true")}
    old = tmp_path / "old.json"
    old.write_text(pipeline(a, inputs={"parameters": {"p": {"parameterType": "STRING"}}}))
    new = tmp_path / "new.json"
    new.write_text(pipeline(b, inputs={"parameters": {
        "p": {"parameterType": "STRING", "defaultValue": "d", "isOptional": True}}}))
    d = differences(dugout, new, old)
    assert d["gone"] == ("removed", {}) and d["new"] == ("added", {})
    assert d["t"] == ("changed", {
        "image": ("tiny", "other"), "line 2 of word 3 of the command": ("two", "2wo"),
        "word 5 of the command": (None, "y"), "env B": ("2", "3"), "env C": (None, "4"),
        "memory limit": ("1Gi", "2Gi"), "caching": (True, False), "retries": (1, 0),
        **{k: v for k, v in d["t"][1].items() if k.startswith("back-off")}})
    assert d["u"] == ("changed", {"input parameter x": ("input p", "7"),
                                  "runs after": (["gone"], ["t"])})
    assert d["(pipeline)"][1] == {"parameter p": (
        {"type": "STRING"}, {"type": "STRING", "optional": True, "default": "d"})}
    text = dugout.ok("plan", new, "--against", old).out
    assert "removed gone\n" in text and "added new\n" in text
    assert '  image\n      was "tiny"\n      is  "other"\n' in text


def test_groups_are_compared_inside(dugout, tmp_path):
    old, new = groups(), groups()
    new["root"]["dag"]["tasks"]["for-loop-1"]["parameterIterator"]["items"]["raw"] = "[1, 2, 3]"
    new["components"]["comp-loop"]["dag"]["tasks"]["more"] = \
        new["components"]["comp-loop"]["dag"]["tasks"]["leaf"]
    new["root"]["dag"]["tasks"]["condition-2"]["triggerPolicy"]["condition"] = \
        "inputs.parameter_values['p'] == 'right'"
    for name, doc in (("old.json", old), ("new.json", new)):
        (tmp_path / name).write_text(json.dumps(doc))
    d = differences(dugout, tmp_path / "new.json", tmp_path / "old.json")
    assert d["for-loop-1"][1] == {"items of the loop": ("[1, 2]", "[1, 2, 3]")}
    assert d["condition-2"][1] == {"condition": ("inputs.parameter_values['p'] != 'left'",
                                                 "inputs.parameter_values['p'] == 'right'")}
    assert d["for-loop-1/more"][0] == "added"
    assert d["for-loop-2/more"][0] == "added", "its body is the same component"


def test_against_what_is_neither_a_file_nor_a_run(dugout, chain):
    r = dugout("plan", chain(), "--against", "nothing-like-it")
    assert r.rc == 3 and "nothing-like-it" in r.err
