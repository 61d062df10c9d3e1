# SPDX-License-Identifier: Apache-2.0
"""diff of two runs: parameters, code, inputs, outputs."""

import re

from conftest import sh

PATH_OF = "{{$.outputs.artifacts['%s'].path}}"
IN = "{{$.inputs.artifacts['%s'].path}}"


def churn(word, trees, more=()):
    tasks = {
        "load": {**sh('echo %s >"$0"' % word, PATH_OF % "raw"), "art_out": {"raw": "system.Dataset"}},
        "train": {**sh('cat "$0" >"$1"', IN % "data", PATH_OF % "model"), "inp": {"trees": "=%s" % trees},
                  "art_in": {"data": "load.raw"}, "art_out": {"model": "system.Model"}},
        "fixed": {**sh('echo same >"$0"', PATH_OF % "x"), "art_out": {"x": "system.Artifact"}},
    }
    for name in more:
        tasks[name] = sh("true")
    return tasks


def test_two_runs_are_compared_by_what_went_in_and_came_out(dugout, write):
    dugout.ok("run", write(churn("one", 10), name="churn"), "--name", "first")
    dugout.ok("run", write(churn("two", 20, ["extra"]), name="churn"), "--name", "second")
    doc = dugout.ok("diff", "first", "second", "--json").json
    rows = {(r["kind"], r["task"], r["name"]): r for r in doc["rows"]}
    spec = rows["run", None, "spec"]
    assert spec["a"] != spec["b"] and all(re.fullmatch("[0-9a-f]{64}", spec[k]) for k in "ab"), spec
    assert rows["task", "extra", "task"]["a"] is None
    code = rows["code", "load", "comp-load"]
    assert code["a"] != code["b"] and len(code["a"]) == 64
    assert rows["task_parameter", "train", "trees"]["b"] == '"20"'
    assert " sha256:" in rows["input", "train", "data"]["a"]
    assert rows["output", "train", "model"]["a"] != rows["output", "train", "model"]["b"]
    assert not [r for r in doc["rows"] if r["task"] == "fixed"]
    assert (doc["tasks_in_both"], doc["tasks_same"]) == (3, 1)
    text = dugout.ok("diff", "first", "second").out
    assert "what went in" in text and "code comp-load" in text
    assert "1 of 3 tasks that both have are the same" in text


def test_equal_runs_say_so(dugout, write):
    f = write(churn("one", 10), name="churn")
    dugout.ok("run", f, "--name", "first")
    dugout.ok("run", f, "--name", "second", "--no-cache")
    assert "3 of 3 tasks that both have are the same: nothing differs" in dugout.ok("diff", "first", "second").out
    r = dugout("diff", "first", "thrid")
    assert r.rc == 3 and "no run thrid" in r.err
