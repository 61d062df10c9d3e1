# SPDX-License-Identifier: Apache-2.0
"""why: what made a task run, be cached, be skipped or fail, and what to type next."""

import json
import os
import signal
import time

import pytest

from conftest import out_param, pipeline, sh

MAKE = 'mkdir -p "$(dirname "$1")"; echo "$0" >"$1"'


def why(dugout, what):
    return dugout.ok("why", what, "--json").json


def changes(doc):
    return {c["what"]: (c["before"], c["after"]) for c in doc["changes"]}


def train(write, script="cat $1 >/dev/null", name="p", **more):
    """make (from parameter rows) -> train (reads its artifact)."""
    t = {
        "make": {**sh(MAKE, "{{$.inputs.parameters['rows']}}",
                      "{{$.outputs.artifacts['data'].path}}"),
                 "inp": {"rows": "rows"}, "art_out": {"data": "system.Dataset"}},
        "train": {**sh(script, "x", "{{$.inputs.artifacts['data'].path}}"),
                  "art_in": {"data": "make.data"}, **more},
    }
    return write(t, name=name, inputs={"parameters": {
        "rows": {"parameterType": "STRING", "defaultValue": "10", "isOptional": True}}})


# ---- ran, or was cached ------------------------------------------------------------------


def test_the_first_run_and_a_hit(dugout, write):
    f = train(write)
    dugout.ok("run", f, "--name", "one")
    doc = why(dugout, "one/train")
    assert doc["kind"] == "miss" and doc["against"] is None and "first" in doc["summary"]
    dugout.ok("run", f, "--name", "two")
    doc = why(dugout, "two/train")
    assert doc["kind"] == "hit" and doc["from"] == {"run": "one", "task": "train"}
    text = dugout.ok("why", "two/train").out
    assert "taken from the cache" in text and "one/train" in text and "--refresh=train" in text


def test_a_changed_parameter_and_what_follows_from_it(dugout, write):
    f = train(write)
    dugout.ok("run", f, "--name", "one")
    dugout.ok("run", f, "--name", "two")  # a hit: its ingredients are those of one
    dugout.ok("run", f, "--name", "three", "-p", "rows=20")
    doc = why(dugout, "three/make")
    assert doc["kind"] == "miss" and doc["against"] == {"run": "two", "task": "make"}
    assert changes(doc) == {"input parameter rows": ("10", "20")}
    doc = why(dugout, "three/train")
    assert list(changes(doc)) == ["content of input artifact data"]
    text = dugout.ok("why", "three/make").out
    assert "input parameter rows\n      was \"10\"\n      is  \"20\"\n" in text


def test_each_ingredient_is_named(dugout, write, tiny_tar, tmp_path):
    base = {"env": {"LEVEL": "1"}, "out": {"y": "STRING"}}

    def of(script='mkdir -p "$(dirname "$0")"; echo 1 >"$0"', *args, **more):
        return write({"t": {**sh(script, out_param("y"), *args), **base, **more}})

    dugout.ok("run", of())

    def changed(*flags, **kw):
        dugout.ok("run", of(**kw), *flags)
        return changes(why(dugout, "@latest/t"))

    assert changed(args=["a"]) == {"word 1 of the arguments": (None, "a")}
    assert changed(args=["b"]) == {"word 1 of the arguments": ("a", "b")}
    assert changed(args=["b"], env={"LEVEL": "2"}) == {"env LEVEL": ("1", "2")}
    assert changed("--env", "A=1", args=["b"], env={"LEVEL": "2"}) == {
        "environment given by flags": ("", "A=1\n")}
    assert list(changed(args=["b"], env={"LEVEL": "2"}, out={"y": "STRING", "z": "STRING"},
                        script='mkdir -p "$(dirname "$0")"; echo 1 >"$0"; echo 2 >"$(dirname "$0")/z"',
                        )) == ["word 3 of the command", "environment given by flags",
                               "declared output parameter z"]
    dugout.ok("image", "import", tiny_tar, "--name", "other", "--env", "X=1")
    assert list(changed(image="other")) .count("image") == 1


def test_a_script_is_compared_by_lines(dugout, write):
    body = "\n".join("echo step %d" % i for i in range(50))
    dugout.ok("run", train(write, script=body))
    dugout.ok("run", train(write, script=body.replace("step 30", "step thirty")))
    doc = why(dugout, "@latest/train")
    assert changes(doc) == {"line 31 of word 3 of the command": ("echo step 30", "echo step thirty")}


def test_a_custom_key_stands_for_everything_else(dugout, write):
    def of(key, text):
        return write({"t": {**sh("echo " + text),
                            "extra": {"cachingOptions": {"enableCache": True, "cacheKey": key}}}})

    dugout.ok("run", of("v1", "a"))
    assert dugout.ok("run", of("v1", "b"), "--json").json["tasks"][0]["cached"]
    assert not dugout.ok("run", of("v2", "b"), "--json").json["tasks"][0]["cached"]
    assert changes(why(dugout, "@latest/t")) == {"cache key set in the pipeline": ("v1", "v2")}


@pytest.mark.parametrize("flags, words", [
    (["--no-cache"], "--no-cache"), (["--refresh=t"], "--refresh"), (["-v", "/etc:/x"], "-v"),
    (["--network", "host"], "network"),
])
def test_what_keeps_a_task_from_the_cache_is_said(dugout, write, flags, words):
    f = write({"t": sh("true")})
    dugout.ok("run", f)
    dugout.ok("run", f, *flags)
    doc = why(dugout, "@latest/t")
    assert doc["kind"] == "not cached" and words in doc["summary"] and doc["changes"] == []


def test_caching_that_is_off_in_the_pipeline_still_names_changes(dugout, write):
    dugout.ok("run", write({"t": {**sh("echo a"), "cache": False}}))
    dugout.ok("run", write({"t": {**sh("echo b"), "cache": False}}))
    doc = why(dugout, "@latest/t")
    assert "enableCache" in doc["summary"]
    assert changes(doc) == {"word 3 of the command": ("echo a", "echo b")}


def test_an_old_result_is_told_from_a_changed_one(dugout, write):
    f = write({"t": sh("true")})
    dugout.ok("run", f)
    dugout.ok("run", f, "--cache-max-age", "0.001s")
    doc = why(dugout, "@latest/t")
    assert doc["kind"] == "miss" and doc["changes"] == [] and "--cache-max-age" in doc["summary"]


# ---- skipped -------------------------------------------------------------------------------


def test_a_skip_is_followed_to_its_cause(dugout, write):
    f = write({
        "a": sh("echo boom; exit 3"), "b": {**sh("true"), "after": ["a"]},
        "c": {**sh("true"), "after": ["b"]},
    })
    assert dugout("run", f, "--name", "r").rc == 1
    doc = why(dugout, "r/c")
    assert doc["kind"] == "skip"
    assert [(x["task"], x["state"]) for x in doc["chain"]] == [("b", "SKIPPED"), ("a", "FAILED")]
    assert doc["chain"][1]["text"] == "exit code 3" and doc["next"][0] == "dugout why r/a"
    text = dugout.ok("why", "r/c").out
    assert "a failed: exit code 3" in text and "dugout why r/a" in text


def grouped(dugout, tmp_path, word="left", code=0):
    """pick -> condition-1 (taken when word is left) with leaf and after; a loop of two."""
    base = json.loads(pipeline({
        "pick": {**sh(MAKE, word, out_param("y")), "out": {"y": "STRING"}},
        "leaf": {**sh("exit %d" % code)}, "after": {**sh("true"), "after": ["leaf"]},
    }))
    tasks = base["root"]["dag"]["tasks"]
    body = {"dag": {"tasks": {k: tasks.pop(k) for k in ("leaf", "after")}}}
    base["components"]["comp-if"] = {
        **body, "inputDefinitions": {"parameters": {"p": {"parameterType": "STRING"}}}}
    tasks["condition-1"] = {
        "componentRef": {"name": "comp-if"}, "dependentTasks": ["pick"],
        "inputs": {"parameters": {"p": {"taskOutputParameter": {
            "producerTask": "pick", "outputParameterKey": "y"}}}},
        "triggerPolicy": {"condition": "inputs.parameter_values['p'] == 'left\\n'"}}
    base["components"]["comp-loop"] = {
        **body, "inputDefinitions": {"parameters": {"i": {"parameterType": "NUMBER_INTEGER"}}}}
    tasks["for-loop-1"] = {"componentRef": {"name": "comp-loop"}, "dependentTasks": ["condition-1"],
                           "parameterIterator": {"items": {"raw": "[1, 2]"}, "itemInput": "i"}}
    f = tmp_path / "g.json"
    f.write_text(json.dumps(base))
    return dugout("run", f, "--name", "r")


def test_a_branch_that_was_not_taken(dugout, tmp_path):
    assert grouped(dugout, tmp_path, "right").rc == 0
    doc = why(dugout, "r/condition-1")
    assert doc["kind"] == "skip" and "its condition is false" in doc["summary"]
    saw = {"task": "condition-1", "text": "inputs.parameter_values['p'] == 'left\\n'",
           "saw": {"p": "right\n"}}
    assert doc["condition"] == saw
    assert "  saw p = \"right\\n\"\n" in dugout.ok("why", "r/condition-1/after").out
    for inside in ("condition-1/leaf", "condition-1/after", "for-loop-1"):
        doc = why(dugout, "r/" + inside)
        assert doc["kind"] == "skip", inside
        assert doc["chain"][-1]["task"] == "condition-1", doc
        assert doc["condition"] == saw
        assert "inputs.parameter_values['p'] == 'left" in doc["chain"][-1]["text"]


def test_a_failure_inside_of_groups(dugout, tmp_path):
    assert grouped(dugout, tmp_path, "left", 3).rc == 1
    doc = why(dugout, "r/condition-1")
    assert doc["kind"] == "failure" and doc["next"] == ["dugout why r/condition-1/leaf"]
    doc = why(dugout, "r/condition-1/after")
    assert [x["task"] for x in doc["chain"]] == ["condition-1/leaf"]
    doc = why(dugout, "r/for-loop-1")
    assert [x["task"] for x in doc["chain"]] == ["condition-1", "condition-1/leaf"], \
        "the cause is followed into the group"


def test_a_branch_that_was_taken_and_one_that_could_not_be_decided(dugout, tmp_path):
    assert grouped(dugout, tmp_path).rc == 0
    assert why(dugout, "r/condition-1")["condition"]["saw"] == {"p": "left\n"}
    f = tmp_path / "g.json"
    f.write_text(f.read_text().replace("== 'left", "< 3 || inputs.parameter_values['p'] == 'right"))
    assert dugout("run", f, "--name", "s").rc == 1
    doc = why(dugout, "s/condition-1")
    assert doc["condition"]["saw"] == {"p": "left\n"} and "no order" in doc["summary"], doc
    assert why(dugout, "s/for-loop-1")["condition"] is None, "it has none, and what it needs has failed"


def test_an_iteration(dugout, tmp_path):
    assert grouped(dugout, tmp_path).rc == 0
    assert why(dugout, "r/for-loop-1")["kind"] == "group"
    assert why(dugout, "r/for-loop-1[1]/leaf")["kind"] in ("hit", "miss")
    assert grouped(dugout, tmp_path, "left").rc == 0
    assert why(dugout, "@latest/for-loop-1[1]/leaf")["kind"] == "hit"


# ---- failed --------------------------------------------------------------------------------


def failure(dugout, write, task, *flags):
    r = dugout("run", write({"t": task}), "--name", "r", *flags)
    assert r.rc in (1, 124), r
    doc = why(dugout, "r/t")
    assert doc["kind"] == "failure" and doc["state"] == "FAILED"
    return doc


def test_an_exit_code_with_the_end_of_the_log(dugout, write):
    doc = failure(dugout, write, sh("for i in $(seq 100); do echo line $i; done; exit 7"))
    assert doc["attempt"]["exit_code"] == 7 and "exit code 7" in doc["summary"]
    assert doc["log"].endswith("line 99\nline 100\n") and "line 80\n" not in doc["log"]
    assert "dugout logs r/t" in doc["next"] and "dugout resume r" in doc["next"]
    text = dugout.ok("why", "r/t").out
    assert "  | line 100\n" in text and "next: dugout logs r/t\n" in text
    assert "attempt 1 of 1" in text


def test_a_signal(dugout, write):
    doc = failure(dugout, write, sh("kill -SEGV $$$$"))
    assert doc["attempt"]["signal"] == 11 or doc["attempt"]["exit_code"] == 139
    assert "11" in doc["summary"] or "139" in doc["summary"]


def test_a_missing_output(dugout, write):
    doc = failure(dugout, write, {**sh("true"), "out": {"n": "STRING"}})
    assert "n" in doc["error"] and doc["attempt"]["exit_code"] == 0


def test_a_time_out(dugout, write):
    doc = failure(dugout, write, sh("sleep 600"), "--timeout", "1s")
    assert doc["attempt"]["timed_out"] and any("--timeout" in n for n in doc["next"])


def test_out_of_memory_with_peak_and_limit(dugout, write):
    enforced = dugout("doctor", "--json")
    doc_or_none = dugout("run", write({"t": {
        **sh("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}"),
        "resources": {"resourceMemoryLimit": "32Mi"}}}), "--name", "r")
    if doc_or_none.rc == 0:
        pytest.skip("this host enforces no memory limit: %s" % enforced.out[:200])
    doc = why(dugout, "r/t")
    if not doc["attempt"]["oom"]:
        pytest.skip("the memory limit showed in another way: " + doc["summary"])
    assert "out of memory" in doc["summary"] and "32.0 MiB" in doc["summary"]
    assert doc["attempt"]["memory_limit_bytes"] == 32 << 20
    assert 16 << 20 < doc["attempt"]["peak_memory_bytes"] <= 33 << 20
    assert any("--memory t=64Mi" in n for n in doc["next"])


def test_a_host_failure_is_told_from_the_step_s_own(dugout, write):
    """Its supervisor is killed until dugout gives up."""
    p = dugout.start("run", write({"t": sh("sleep 600")}), "--name", "r")
    killed = set()
    while p.poll() is None and len(killed) < 10:
        for pid in dugout.home.glob("runs/*/*.*/pid"):
            if str(pid) not in killed and pid.read_text():
                os.kill(int(pid.read_text().split()[0]), signal.SIGKILL)
                killed.add(str(pid))
        time.sleep(0.05)
    p.communicate(timeout=300)
    doc = why(dugout, "r/t")
    assert doc["attempt"]["host_failure"] and doc["attempt"]["number"] == len(killed) == 4
    assert "vanished" in doc["summary"] and "dugout doctor" in doc["next"]


def test_a_task_that_could_not_be_started(dugout, write):
    f = write({"t": {**sh("true", "{{$.inputs.parameters['x']}}"), "inp": {"x": "x"}}},
              inputs={"parameters": {"x": {"parameterType": "STRING"}}})
    params = f.parent / "params.json"
    params.write_text(json.dumps({"x": "x" * 200000}))
    assert dugout("run", f, "--params", params, "--name", "r").rc == 1
    doc = why(dugout, "r/t")
    assert "could not be started" in doc["summary"] and "200000 bytes" in doc["summary"]
    assert doc["attempt"] is None or doc["attempt"]["number"] == 0


def test_a_run_alone_explains_what_failed_or_gives_a_line_a_task(dugout, write):
    f = write({"a": sh("exit 1"), "b": sh("true")})
    dugout("run", f, "--name", "r")
    text = dugout.ok("why", "r").out
    assert text.startswith("task a of run r failed: exit code 1") and "task b" not in text
    f = train(write, name="q")
    dugout.ok("run", f)
    dugout.ok("run", f, "-p", "rows=11", "--name", "s")
    lines = dugout.ok("why", "s").out.splitlines()
    assert lines == ["make ran: something that it sees has changed: input parameter rows",
                     "train ran: something that it sees has changed: content of input artifact data"]
    assert [d["task"] for d in why(dugout, "s")] == ["make", "train"]


def test_what_does_not_exist_is_said(dugout, write):
    dugout.ok("run", write({"t": sh("true")}), "--name", "r")
    r = dugout("why", "r/nope")
    assert r.rc == 3 and "nope" in r.err


def test_what_a_task_says_does_not_command_the_terminal(dugout, write):
    """Where text of a task is shown for people; `logs` gives the log as it is."""
    evil = "\x1b]0;title\x07\x1b[2J\x7fé\u009b31m"
    said = {"artifacts": {"m": {"artifacts": [{"name": "x", "uri": "/tmp/" + evil,
                                               "metadata": {"k" + evil: "v" + evil, "n": 1}}]}}}
    f = write({"good": {**sh('mkdir -p "$(dirname "$0")"; printf %s "$1" >"$0"',
                             "{{$.outputs.output_file}}", json.dumps(said)),
                        "art_out": {"m": "system.Model"}},
               "bad": sh("printf '%s' \"$0\"; exit 3", "first\tcell" + evil + "end")})
    r = dugout("run", f)
    assert r.rc == 1 and "first\tcell" in r.err and "31mend" in r.err
    shown = [r] + [dugout.ok(*c) for c in (
        ("why", "@latest/bad"), ("show", "@latest/good"), ("lineage", "@latest/good:m"), ("artifacts",),
        ("artifact", "show", "@latest/good:m"), ("show", "@latest"), ("runs",), ("query", "Model"))]
    for r in shown:
        text = r.out + r.err
        assert not [c for c in text if (c < " " and c not in "\t\n") or "\x7f" <= c < "\xa0"], r
    assert "é" in shown[1].out and evil in dugout.ok("logs", "@latest/bad").out
