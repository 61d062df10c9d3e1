# SPDX-License-Identifier: Apache-2.0
"""Pipelines with groups for the tests: a small tree, its compiled form, and what it must come to.

A pipeline is a Dag of Tasks. A Task is a step (a container) or holds a Dag, guarded by a condition
or repeated over a list. A source is ("const", value), ("in", name) or ("out", task, key), and a
Dag's outputs are lists of (task, key): several are a one-of.

A step's outputs follow from its inputs alone: `digest` of its key and of all input texts, first
eight digits. It gives that as `Output`, a list made of it as `List`, and fails when the first digit is
in `fails_on`. So `expect` can say what a run must look like without running anything.
"""

import dataclasses
import hashlib
import json
import typing

STEP = r"""
h=$(printf '%s' "$0" "$@" | md5sum); h=${h%% *}; d=${h%????????????????????????}
case $d in [$FAILS]*) echo "fails on $d"; exit 3;; esac
case $d in [0-3]*) l='[]';; [4-7]*) l="[\"$d\"]";; *) l="[\"$d\",\"${d%????}\",\"x\"]";; esac
printf '%s' "$d" >/tmp/kfp/outputs/Output; printf '%s' "$l" >/tmp/kfp/outputs/List
"""


@dataclasses.dataclass
class Task:
    inp: dict = dataclasses.field(default_factory=dict)  # name -> source
    optional: set = dataclasses.field(default_factory=set)  # inputs with the default "none"
    after: list = dataclasses.field(default_factory=list)
    any_end: bool = False
    fails_on: str = ""
    dag: typing.Optional["Dag"] = None
    condition: str = ""  # for the compiled form ...
    holds: typing.Optional[typing.Callable[[dict], bool]] = None  # ... and for expect
    over: typing.Any = None  # a list, or the name of an input that holds one
    limit: int = 0
    retry: typing.Optional[dict] = None
    cache: bool = False
    lists: set = dataclasses.field(default_factory=set)  # inputs of type LIST

    def deps(self):
        return set(self.after) | {s[1] for s in self.inp.values() if s[0] == "out"}


@dataclasses.dataclass
class Dag:
    tasks: dict
    outputs: dict = dataclasses.field(default_factory=dict)  # name -> [(task, key), ...]


ITEM = "item"


# ---- the compiled form ----------------------------------------------------------------------


def compiled(root: Dag, name="flow") -> str:
    spec = {"components": {}, "deploymentSpec": {"executors": {}}, "pipelineInfo": {"name": name},
            "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.15.2"}
    spec["root"] = {"dag": _dag(spec, root)}
    if root.outputs:
        spec["root"]["outputDefinitions"] = _outputs(root)
    return json.dumps(spec, indent=1)


def _outputs(dag: Dag) -> dict:
    return {"parameters": {k: {"parameterType": "STRING"} for k in dag.outputs}}


def _source(src) -> dict:
    if src[0] == "const":
        return {"runtimeValue": {"constant": src[1]}}
    if src[0] == "in":
        return {"componentInputParameter": src[1]}
    return {"taskOutputParameter": {"producerTask": src[1], "outputParameterKey": src[2]}}


def _dag(spec: dict, dag: Dag) -> dict:
    out = {"tasks": {key: _task(spec, key, t) for key, t in dag.tasks.items()}}
    if dag.outputs:
        out["outputs"] = {"parameters": {}}
        for name, selectors in dag.outputs.items():
            all_ = [{"producerSubtask": t, "outputParameterKey": k} for t, k in selectors]
            out["outputs"]["parameters"][name] = (
                {"valueFromParameter": all_[0]} if len(all_) == 1
                else {"valueFromOneof": {"parameterSelectors": all_}})
    return out


def _component(spec: dict, key: str, t: Task) -> str:
    name = "comp-%s-%d" % (key, len(spec["components"]))
    spec["components"][name] = comp = {}
    params = {k: {"parameterType": "LIST" if k in t.lists else "STRING"} for k in t.inp}
    for k in t.optional:
        params[k] = {"parameterType": "STRING", "defaultValue": "none", "isOptional": True}
    if t.dag:
        if t.over is not None:
            params[ITEM] = {"parameterType": "STRING"}
        comp["dag"] = _dag(spec, t.dag)
        if t.dag.outputs:
            comp["outputDefinitions"] = _outputs(t.dag)
    else:
        comp["executorLabel"] = "exec-" + name
        comp["outputDefinitions"] = {"parameters": {"Output": {"parameterType": "STRING"},
                                                    "List": {"parameterType": "LIST"}}}
        words = ["{{$.inputs.parameters['%s']}}" % k for k in sorted(t.inp)]
        spec["deploymentSpec"]["executors"]["exec-" + name] = {"container": {
            "image": "tiny", "command": ["sh", "-c", STEP, key], "args": words,
            "env": [{"name": "FAILS", "value": t.fails_on or "x"}]}}
    if params:
        comp["inputDefinitions"] = {"parameters": params}
    return name


def _task(spec: dict, key: str, t: Task) -> dict:
    node = {"componentRef": {"name": _component(spec, key, t)}, "taskInfo": {"name": key},
            "cachingOptions": {"enableCache": True} if t.cache else {}}
    if t.inp:
        node["inputs"] = {"parameters": {k: _source(s) for k, s in t.inp.items()}}
    if t.deps():
        node["dependentTasks"] = sorted(t.deps())
    trigger = {}
    if t.condition:
        trigger["condition"] = t.condition
    if t.any_end:
        trigger["strategy"] = "ALL_UPSTREAM_TASKS_COMPLETED"
    if trigger:
        node["triggerPolicy"] = trigger
    if t.over is not None:
        items = ({"inputParameter": t.over} if isinstance(t.over, str)
                 else {"raw": json.dumps(t.over)})
        node["parameterIterator"] = {"itemInput": ITEM, "items": items}
        if t.limit:
            node["iteratorPolicy"] = {"parallelismLimit": t.limit}
    if t.retry:
        node["retryPolicy"] = t.retry
    return node


# ---- what it must come to ---------------------------------------------------------------------


def text(value) -> str:
    """The text form of a value (spec section 4)."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def step(key: str, t: Task, inputs: dict):
    """Outputs of a step, None when it fails."""
    words = [key] + [text(inputs[k]) for k in sorted(t.inp)]
    d = hashlib.md5("".join(words).encode()).hexdigest()[:8]
    if d[0] in t.fails_on:
        return None
    items = [] if d[0] in "0123" else [d] if d[0] in "4567" else [d, d[:4], "x"]
    return {"Output": d, "List": items}


class Expect:
    """Walks the tree naively. `seen` (path -> state) decides only what timing decides: whether a
    task of a scope in which another task failed was still started."""

    def __init__(self, seen: dict):
        self.seen, self.states, self.values = seen, {}, {}

    def dag(self, dag: Dag, inputs: dict, prefix: str, dead: str = ""):
        """-> (state, outputs); dead: the state that all tasks get, for a group that never ran"""
        done = {}
        todo = dict(dag.tasks)
        may_fail = any(self.seen.get(prefix + k) == "FAILED" for k in todo)
        while todo:
            key = next(k for k, t in todo.items() if t.deps() <= set(done))
            t = todo.pop(key)
            path = prefix + key
            if dead:
                done[key] = (dead, {})
                self.states[path] = dead
                if t.dag and t.over is None:
                    self.dag(t.dag, {}, path + "/", dead)
                continue
            done[key] = self.task(key, t, inputs, done, path, may_fail)
            self.states[path] = done[key][0]
        states = [s for s, _ in done.values()]
        if "FAILED" in states:
            return "FAILED", {}
        return "SUCCEEDED", {name: v for name, selectors in dag.outputs.items()
                             for v in self.first(done, selectors)}

    @staticmethod
    def first(done, selectors):
        for task, key in selectors:
            state, out = done[task]
            if state == "SUCCEEDED" and key in out:
                return [out[key]]
        return []

    def task(self, key, t, inputs, done, path, may_fail):
        skipped = ("SKIPPED", {})
        if not t.any_end:
            stop = any(done[d][0] != "SUCCEEDED" for d in t.deps())
            late = may_fail and t.deps() and self.seen.get(path) == "SKIPPED"
            if stop or late:
                if t.dag and t.over is None:
                    self.dag(t.dag, {}, path + "/", "SKIPPED")
                return skipped
        mine = {}
        for name, src in t.inp.items():
            v = (src[1] if src[0] == "const" else inputs.get(src[1]) if src[0] == "in"
                 else done[src[1]][1].get(src[2]))
            if v is None:
                if name not in t.optional:
                    if t.dag and t.over is None:
                        self.dag(t.dag, {}, path + "/", "SKIPPED")
                    return "FAILED", {}
                v = "none"
            mine[name] = v if name in t.lists else text(v)
        if t.holds and not t.holds(mine):
            self.dag(t.dag, {}, path + "/", "SKIPPED")
            return skipped
        if not t.dag:
            out = step(key, t, mine)
            self.values[path] = out
            return ("FAILED", {}) if out is None else ("SUCCEEDED", out)
        if t.over is None:
            return self.dag(t.dag, mine, path + "/")
        return self.loop(t, mine, path)

    def loop(self, t, mine, path):
        items = mine[t.over] if isinstance(t.over, str) else t.over
        results = []
        for i, item in enumerate(items):
            prefix = "%s[%d]/" % (path, i)
            started = any(p.startswith(prefix) for p in self.seen)
            if not started and any(s == "FAILED" for s, _ in results):
                continue  # a failure ended the supply of iterations
            if not started and self.seen.get(path) == "FAILED":
                continue
            results.append(self.dag(t.dag, {**mine, ITEM: text(item)}, prefix))
        if any(s == "FAILED" for s, _ in results):
            return "FAILED", {}
        return "SUCCEEDED", {name: [out[name] for _, out in results if name in out]
                             for name in t.dag.outputs}
