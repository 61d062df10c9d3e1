# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the black-box tests: the shipped binary, homes with images, small pipelines."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = os.environ.get("DUGOUT_BIN") or str(ROOT / "build" / "dugout")
SHARED = pathlib.Path(os.environ.get("DUGOUT_SHARED") or ROOT.parent / "shared")

PATIENCE = float(os.environ.get("DUGOUT_TEST_PATIENCE") or 300)  # seconds; it decides nothing


def wait_until(probe, seconds=PATIENCE):
    """Wait for a state; gives what `probe` gave. That a machine is slow is no failure."""
    end = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < end, "it did not come to that in %d s" % seconds
        time.sleep(0.05)
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended; who should reap it may be long in coming."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def ever_longer(call, enough, first=1.0):
    """Call with a time-out in seconds that grows until a task got as far as `enough` wants it
    before the time was up; gives the last result."""
    seconds = first
    while True:
        r = call("%gs" % seconds)
        if enough(r):
            return r
        seconds *= 4
        assert seconds < 600, r


class Result:
    """What one call of the binary gave."""

    def __init__(self, done: subprocess.CompletedProcess):
        self.rc, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self) -> str:
        return "rc=%d\n--- out\n%s\n--- err\n%s" % (self.rc, self.out, self.err)


class Dugout:
    """The binary with one home."""

    started = []  # by a test: (process, home)

    def __init__(self, home: pathlib.Path):
        self.home = home

    def env(self, **more) -> dict:
        return {**os.environ, "DUGOUT_HOME": str(self.home), **more}

    def __call__(self, *args, stdin=None, timeout=900, env=None) -> Result:
        return Result(
            subprocess.run(
                [BIN, *map(str, args)],
                input=stdin,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                timeout=timeout,
                env=self.env(**(env or {})),
            )
        )

    def ok(self, *args, **kw) -> Result:
        """Call it and want success."""
        r = self(*args, **kw)
        assert r.rc == 0, r
        return r

    def start(self, *args, **kw) -> subprocess.Popen:
        """Start it and leave it running; with the test it ends."""
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **kw}
        p = subprocess.Popen([BIN, *map(str, args)], env=self.env(), **how)
        self.started.append((p, self.home))
        return p

    def states(self, run="@latest") -> dict:
        """Task path -> state."""
        return {t["path"]: t["state"] for t in self.ok("show", run, "--json").json["tasks"]}


def end_all_of(*homes):
    """Kill every dugout that was called with one of these homes."""
    homes = {os.fsencode("DUGOUT_HOME=%s" % home) for home in homes}
    for pid in filter(str.isdigit, os.listdir("/proc") if homes else []):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                if homes & set(f.read().split(b"\0")):
                    os.kill(int(pid), signal.SIGKILL)
        except OSError:
            continue


@pytest.fixture(autouse=True)
def nothing_outlives_its_test():
    """A test that fails in the middle leaves engines, and supervisors that go on without them."""
    yield
    end_all_of(*(home for _, home in Dugout.started))
    while Dugout.started:
        p, _ = Dugout.started.pop()
        p.wait()
        for pipe in filter(None, (p.stdin, p.stdout, p.stderr)):
            pipe.close()


def rootfs(name: str) -> pathlib.Path:
    """The tar of a base image, made when it is not there."""
    tar = ROOT / "build" / "rootfs" / (name + ".tar")
    done = subprocess.run([str(ROOT / "rootfs" / "build.sh"), name], capture_output=True, text=True)
    if done.returncode != 0 and not tar.exists():
        pytest.fail("rootfs/build.sh %s: %s" % (name, done.stderr[-500:]))
    return tar


def _boxes_work(d: Dugout) -> str:
    r = d("box", "tiny", "--", "true")
    return "" if r.rc == 0 else r.err.strip()


@pytest.fixture(scope="session")
def tiny_tar():
    return rootfs("busybox-tiny")


@pytest.fixture(scope="session")
def template(tmp_path_factory, tiny_tar):
    """A home with the tiny image, to be copied."""
    assert os.path.exists(BIN), "no %s: run make first" % BIN
    home = tmp_path_factory.mktemp("template") / "home"
    d = Dugout(home)
    d.ok("image", "import", tiny_tar, "--name", "tiny")
    why = _boxes_work(d)
    if why and d("doctor").rc == 6:
        pytest.skip("no box can be started here: " + why)
    assert not why, "no box can be started, and doctor does not know why: " + why
    return home


@pytest.fixture
def dugout(template, tmp_path):
    """The binary with a fresh home that has the image `tiny`."""
    home = tmp_path / "home"
    shutil.copytree(template, home, symlinks=True)
    return Dugout(home)


@pytest.fixture(scope="session")
def python_home(tmp_path_factory):
    """The binary with one home that has python:3.12-slim, shared by the tests of a session."""
    d = Dugout(tmp_path_factory.mktemp("python") / "home")
    d.ok("image", "import", rootfs("python-small"), "--name", "python:3.12-slim")
    return d


def pipeline(tasks: dict, name="p", inputs=None, outputs=None) -> str:
    """Compiled YAML (as JSON) of container tasks.

    tasks: name -> dict of command, args, env, image, after, inp (parameter -> source),
    out (parameter -> type), art_in, art_out (artifact -> type), cache, retry, resources.
    A source is "task.output", or "=text" for a constant, or the name of a root parameter.
    """
    spec = {
        "components": {},
        "deploymentSpec": {"executors": {}},
        "pipelineInfo": {"name": name},
        "root": {"dag": {"tasks": {}}},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.15.2",
    }

    def source(text, key):
        if text.startswith("="):
            return {"runtimeValue": {"constant": text[1:]}}
        if "." in text:
            task, output = text.split(".")
            kind = "taskOutputParameter" if key == "p" else "taskOutputArtifact"
            field = "outputParameterKey" if key == "p" else "outputArtifactKey"
            return {kind: {"producerTask": task, field: output}}
        return {"componentInputParameter" if key == "p" else "componentInputArtifact": text}

    for task, t in tasks.items():
        comp = {"executorLabel": "exec-" + task}
        ins, outs = {}, {}
        if t.get("inp"):
            ins["parameters"] = {k: {"parameterType": "STRING"} for k in t["inp"]}
        if t.get("art_in"):
            ins["artifacts"] = {
                k: {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
                for k in t["art_in"]
            }
        if t.get("out"):
            outs["parameters"] = {k: {"parameterType": v} for k, v in t["out"].items()}
        if t.get("art_out"):
            outs["artifacts"] = {
                k: {"artifactType": {"schemaTitle": v, "schemaVersion": "0.0.1"}}
                for k, v in t["art_out"].items()
            }
        if ins:
            comp["inputDefinitions"] = ins
        if outs:
            comp["outputDefinitions"] = outs
        spec["components"]["comp-" + task] = comp
        container = {"image": t.get("image", "tiny")}
        for field in ("command", "args", "resources"):
            if field in t:
                container[field] = t[field]
        if "env" in t:
            container["env"] = [{"name": k, "value": v} for k, v in t["env"].items()]
        spec["deploymentSpec"]["executors"]["exec-" + task] = {"container": container}
        deps = set(t.get("after", []))
        for text in list(t.get("inp", {}).values()) + list(t.get("art_in", {}).values()):
            if "." in text and not text.startswith("="):
                deps.add(text.split(".")[0])
        node = {"componentRef": {"name": "comp-" + task}, "taskInfo": {"name": task}}
        if t.get("cache", True):
            node["cachingOptions"] = {"enableCache": True}
        if deps:
            node["dependentTasks"] = sorted(deps)
        if t.get("inp") or t.get("art_in"):
            node["inputs"] = {}
            if t.get("inp"):
                node["inputs"]["parameters"] = {k: source(v, "p") for k, v in t["inp"].items()}
            if t.get("art_in"):
                node["inputs"]["artifacts"] = {k: source(v, "a") for k, v in t["art_in"].items()}
        if "retry" in t:
            node["retryPolicy"] = t["retry"]
        node.update(t.get("extra", {}))
        spec["root"]["dag"]["tasks"][task] = node
    if inputs:
        spec["root"]["inputDefinitions"] = inputs
    if outputs:
        spec["root"]["dag"]["outputs"] = {
            "parameters": {
                k: {
                    "valueFromParameter": {
                        "producerSubtask": v.split(".")[0],
                        "outputParameterKey": v.split(".")[1],
                    }
                }
                for k, v in outputs.items()
            }
        }
        spec["root"]["outputDefinitions"] = {
            "parameters": {k: {"parameterType": "STRING"} for k in outputs}
        }
    return json.dumps(spec, indent=1)


def sh(script: str, *args) -> dict:
    """command of a task: a shell script; args are $0, $1 ..."""
    return {"command": ["sh", "-c", script, *args]}


def out_param(name: str) -> str:
    return "{{$.outputs.parameters['%s'].output_file}}" % name


@pytest.fixture
def write(tmp_path):
    """Write a pipeline to a file, give its path."""

    def write_(tasks, **kw):
        path = tmp_path / (kw.get("name", "p") + ".json")
        path.write_text(pipeline(tasks, **kw))
        return path

    return write_
