# SPDX-License-Identifier: Apache-2.0
"""Kubernetes settings of a pipeline: secrets, config maps, volumes, users, time-outs, labels."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from conftest import SHARED, out_param, pipeline, sh, wait_until


@pytest.fixture
def kube(tmp_path):
    """Write a pipeline with platform settings: executors by task, pipelineConfig."""

    def write_(tasks, settings=None, config=None, **kw):
        spec = json.loads(pipeline(tasks, **kw))
        platform = {"deploymentSpec": {"executors": {"exec-" + t: s
                                                     for t, s in (settings or {}).items()}}}
        if config:
            platform["pipelineConfig"] = config
        path = tmp_path / "kube.yaml"
        path.write_text("# pipeline\n" + json.dumps(spec) + "\n---\n"
                        + json.dumps({"platforms": {"kubernetes": platform}}))
        return path

    return write_


def secret(d, name, kind="secrets", **keys):
    where = d.home / kind / name
    where.mkdir(parents=True, exist_ok=True)
    (d.home / kind).chmod(0o700)
    for key, text in keys.items():
        (where / key).write_text(text)
    return where


def constant(value):
    return {"runtimeValue": {"constant": value}}


def env_from(store, name, optional=False, **var_to_key):
    field, key = {"secret": ("secretName", "secretKey"),
                  "config": ("configMapName", "configMapKey")}[store]
    return {field: name, "optional": optional,
            "keyToEnv": [{key: k, "envVar": v} for v, k in var_to_key.items()]}


def outputs(d, run="@latest", task=0):
    return d.ok("show", run, "--json").json["tasks"][task]["outputs"]["parameters"]


def say(*names):
    """A task whose output `Output` is what these shell words expand to."""
    return {**sh('printf "%s" "' + " ".join(names) + '" > "$0"', out_param("Output")),
            "out": {"Output": "STRING"}}


# ---- secrets and config maps ---------------------------------------------------------------


def test_a_secret_that_is_too_long_for_a_variable_is_said(dugout, kube):
    secret(dugout, "db", password="hunter2" * 20000)
    r = dugout("run", kube({"t": sh("true")}, {"t": {"secretAsEnv": [env_from("secret", "db", P="password")]}}))
    assert r.rc == 1 and "128 KiB" in r.err and "mount what is larger as a file" in r.err, r
    assert "hunter2" not in r.err


def test_secrets_and_config_maps_become_variables(dugout, kube):
    secret(dugout, "db", password="hunter2hunter2\n")
    secret(dugout, "site", kind="configmaps", region="north")
    path = kube({"t": say("$PASSWORD", "$REGION")},
                {"t": {"secretAsEnv": [env_from("secret", "db", PASSWORD="password")],
                       "configMapAsEnv": [env_from("config", "site", REGION="region")]}})
    dugout.ok("run", path)
    assert outputs(dugout) == {"Output": "hunter2hunter2 north"}


def test_a_secret_leaves_no_trace_of_its_own(dugout, kube):
    secret(dugout, "db", password="hunter2hunter2")
    path = kube({"t": sh('test ${#PASSWORD} = 14 && test -f /s/password')},
                {"t": {"secretAsEnv": [env_from("secret", "db", PASSWORD="password")],
                       "secretAsVolume": [{"secretName": "db", "mountPath": "/s"}]}})
    dugout.ok("run", path)
    dugout.ok("show", "@latest", "--json")
    for folder, _, names in os.walk(dugout.home):
        if folder.startswith(str(dugout.home / "secrets")):
            continue
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                assert b"hunter2" not in f.read(), os.path.join(folder, name)
    for args in (["show", "@latest", "--json"], ["show", "@latest/t"], ["logs", "@latest"]):
        assert "hunter2" not in dugout.ok(*args).out
    seen = dugout.ok("show", "@latest", "--json").json["external"]
    assert {x["what"] for x in seen} == {"secret db"}


def test_a_task_that_sees_a_secret_always_runs_and_one_with_a_config_map_is_cached(dugout, kube):
    secret(dugout, "db", password="one")
    site = secret(dugout, "site", kind="configmaps", region="north")
    path = kube({"s": say("$P"), "c": say("$R")},
                {"s": {"secretAsEnv": [env_from("secret", "db", P="password")]},
                 "c": {"configMapAsEnv": [env_from("config", "site", R="region")]}})

    def cached():
        dugout.ok("run", path)
        return {t["name"]: t["cached"] for t in dugout.ok("show", "@latest", "--json").json["tasks"]}

    assert cached() == {"s": False, "c": False}
    assert cached() == {"s": False, "c": True}
    (site / "region").write_text("south")
    assert cached() == {"s": False, "c": False}


def test_secrets_and_config_maps_become_read_only_directories(dugout, kube):
    secret(dugout, "db", password="x y\n", user="me")
    secret(dugout, "site", kind="configmaps", **{"app.conf": "a=1\n"})
    (dugout.home / "secrets" / "db" / "password").chmod(0o600)
    path = kube(
        {"t": {**sh("ls /s; cat /s/password /c/app.conf; id -u; touch /s/new 2>/dev/null || echo ro")}},
        {"t": {"secretAsVolume": [{"secretName": "db", "mountPath": "/s"}],
               "configMapAsVolume": [{"configMapName": "site", "mountPath": "/c/"}],
               "securityContext": {"runAsUser": "1001", "runAsGroup": 1002}}})
    dugout.ok("run", path)
    assert dugout.ok("logs", "@latest/t").out == "password\nuser\nx y\na=1\n1001\nro\n"


def test_later_sources_of_a_variable_win(dugout, kube):
    secret(dugout, "s", v="secret")
    secret(dugout, "c", kind="configmaps", v="config")
    task = {**say("$A", "$B", "$C", "$D", "$E"),
            "env": {k: "executor" for k in "ABCDE"}}
    path = kube({"t": task},
                {"t": {"secretAsEnv": [env_from("secret", "s", B="v", C="v", D="v", E="v")],
                       "configMapAsEnv": [env_from("config", "c", C="v", D="v", E="v")],
                       "fieldPathAsEnv": [{"name": "D", "fieldPath": "metadata.namespace"},
                                          {"name": "E", "fieldPath": "metadata.namespace"}]}})
    dugout.ok("run", path, "--env", "E=flag")
    assert outputs(dugout) == {"Output": "executor secret config default flag"}


@pytest.mark.parametrize("settings, want", [
    ({"secretAsEnv": [env_from("secret", "db", P="password")]},
     r"secret db is not here: make the directory \S+/secrets/db"),
    ({"secretAsVolume": [{"secretName": "db", "mountPath": "/s"}]},
     r"secret db is not here: make the directory \S+/secrets/db"),
    ({"configMapAsEnv": [env_from("config", "db", P="password")]},
     r"config map db is not here: make the directory \S+/configmaps/db"),
    ({"pvcMount": [{"pvcNameParameter": constant("data"), "mountPath": "/d"}]},
     r"volume data is not here: make the directory \S+/volumes/data"),
    ({"secretAsEnv": [env_from("secret", "half", P="password")]},
     r"secret half has no key password: write the file \S+/secrets/half/password"),
])
def test_what_is_missing_refuses_the_run(dugout, kube, settings, want):
    secret(dugout, "half", user="me")
    r = dugout("run", kube({"t": sh("true")}, {"t": settings}))
    assert r.rc == 3, r
    assert re.search("task t: " + want, r.err), r
    assert dugout.ok("runs", "--json").json in ([], {"runs": []}), "it left a run behind"


def test_what_is_missing_and_optional_is_left_out(dugout, kube):
    path = kube({"t": {**say("${P-unset}", "$(ls -A /s | wc -l)"), "cache": False}},
                {"t": {"secretAsEnv": [env_from("secret", "no", optional=True, P="password")],
                       "secretAsVolume": [{"secretName": "no", "mountPath": "/s",
                                           "optional": True}]}})
    dugout.ok("run", path)
    assert outputs(dugout) == {"Output": "unset 0"}


def test_names_come_from_the_enclosing_dag(dugout, kube):
    secret(dugout, "one", k="1")
    secret(dugout, "two", k="2")
    by_input = {"secretNameParameter": {"componentInputParameter": "which"},
                "keyToEnv": [{"secretKey": "k", "envVar": "A"}]}
    by_output = {"secretNameParameter": {"taskOutputParameter": {"producerTask": "name",
                                                                 "outputParameterKey": "Output"}},
                 "keyToEnv": [{"secretKey": "k", "envVar": "B"}]}
    null = {"secretNameParameter": {"componentInputParameter": "none"},
            "keyToEnv": [{"secretKey": "k", "envVar": "C"}]}
    path = kube({"name": say("two"), "t": say("$A", "$B", "${C-none}")},
                {"t": {"secretAsEnv": [by_input, by_output, null]}},
                inputs={"parameters": {"which": {"parameterType": "STRING"},
                                       "none": {"parameterType": "STRING", "isOptional": True}}})
    dugout.ok("run", path, "-p", "which=one")
    assert outputs(dugout, task=1) == {"Output": "1 2 none"}
    r = dugout("run", path, "-p", "which=absent")
    assert r.rc == 3 and "secret absent is not here" in r.err, r
    r = dugout("run", path, "-p", "which=../../etc")
    assert r.rc == 1 and "is no name of a secret" in r.err, r


def test_a_name_that_only_the_run_knows_fails_its_task(dugout, kube):
    path = kube({"name": say("nowhere"), "t": sh("true")},
                {"t": {"secretAsVolume": [{"mountPath": "/s", "secretNameParameter": {
                    "taskOutputParameter": {"producerTask": "name",
                                            "outputParameterKey": "Output"}}}]}})
    r = dugout("run", path)
    assert r.rc == 1 and "secret nowhere is not here" in r.err, r
    assert dugout.states() == {"name": "SUCCEEDED", "t": "FAILED"}


# ---- volumes -------------------------------------------------------------------------------


def test_a_volume_claim_is_a_directory_that_stays(dugout, kube, tmp_path):
    (dugout.home / "volumes" / "data").mkdir(parents=True)
    (tmp_path / "big" / "sub").mkdir(parents=True)
    (tmp_path / "big" / "sub" / "in").write_text("in")
    (dugout.home / "config.yaml").write_text("volumes: {big: %s}\n" % (tmp_path / "big"))
    path = kube({"t": sh("cat /b/in; echo new > /d/new")},
                {"t": {"pvcMount": [
                    {"pvcNameParameter": constant("data"), "mountPath": "/d"},
                    {"constant": "big", "mountPath": "/b", "subPath": "sub"}]}})
    dugout.ok("run", path)
    assert (dugout.home / "volumes" / "data" / "new").read_text() == "new\n"
    assert dugout.ok("logs", "@latest/t").out == "in"
    seen = dugout.ok("show", "@latest", "--json").json["external"]
    assert [(x["what"], x["target"], x["read_only"]) for x in seen] == [
        ("volume data", "/d", False), ("volume big", "/b", False)]


def test_only_a_stable_volume_may_be_seen_by_a_cached_task(dugout, kube, tmp_path):
    (tmp_path / "v").mkdir()
    path = kube({"t": sh("ls /v")},
                {"t": {"pvcMount": [{"constant": "v", "mountPath": "/v"}]}})
    for text, want in (("volumes: {v: %s}\n", False),
                       ("volumes: {v: {path: %s, stable: true}}\n", True)):
        (dugout.home / "config.yaml").write_text(text % (tmp_path / "v"))
        dugout.ok("run", path)
        dugout.ok("run", path)
        assert dugout.ok("show", "@latest", "--json").json["tasks"][0]["cached"] == want


def test_scratch_volumes_last_for_one_attempt(dugout, kube):
    script = ("test ! -e /a/x && test ! -e /e/x && touch /a/x /e/x /m/x && "
              "df -k /m /dev/shm | awk 'NR>1{print $2}'")
    path = kube({"t": {**sh(script), "cache": False}},
                {"t": {"emptyDirMounts": [
                    {"volumeName": "a", "mountPath": "/a"},
                    {"volumeName": "m", "mountPath": "/m", "medium": "Memory",
                     "sizeLimit": "8Mi"}],
                    "genericEphemeralVolume": [{"volumeName": "e", "mountPath": "/e",
                                                "accessModes": ["ReadWriteOnce"], "size": "1Gi"}],
                    "enabledSharedMemory": {"volumeName": "shm", "size": "4Mi"}}})
    dugout.ok("run", path)
    dugout.ok("run", path)
    assert dugout.ok("logs", "@latest/t").out.split() == ["8192", "4096"]
    assert not list(dugout.home.glob("runs/*/*/volumes")), "scratch was left behind"


FILL = "head -c 20000000 /dev/zero >%s/x; sleep 600"


@pytest.mark.parametrize("kind", ["emptyDirMounts", "genericEphemeralVolume"])
def test_a_volume_on_disk_keeps_to_its_size(dugout, kube, kind):
    size = {"emptyDirMounts": {"sizeLimit": "5Mi"},
            "genericEphemeralVolume": {"accessModes": ["ReadWriteOnce"], "size": "5Mi"}}[kind]
    path = kube({"t": sh(FILL % "/w")},
                {"t": {kind: [{"volumeName": "w", "mountPath": "/w", **size}]}})
    r = dugout("run", path, "--json")
    assert r.rc == 1 and r.json["tasks"][0]["error"] == (
        "stopped: the volume at /w holds more than its size of 5.0 MiB"), r


def test_volumes_and_side_cars_count_to_the_disk_of_a_task(dugout, kube):
    mount = [{"volumeName": "w", "mountPath": "/w"}]
    for task, car in ((FILL % "/w", "sleep 600"), ("sleep 600", FILL % "/tmp")):
        path = kube({"t": sh(task)},
                    {"t": {"emptyDirMounts": mount,
                           "initContainers": [init("car", car, restartPolicy="Always")]}})
        r = dugout("run", path, "--json", "--disk", "10Mi")
        assert r.rc == 1 and r.json["tasks"][0]["error"] == (
            "stopped: it wrote more than its limit of 10.0 MiB on disk"), r


# ---- the pod -------------------------------------------------------------------------------


def test_labels_are_recorded_and_seen_through_field_paths(dugout, kube):
    fields = {"A": "metadata.labels['team']", "B": "metadata.annotations['a/b']",
              "C": "metadata.labels['none']", "D": "status.podIP", "E": "spec.serviceAccountName"}
    path = kube({"t": say("$A", "$B", "${C-unset}", "$D", "$E")},
                {"t": {"podMetadata": {"labels": {"team": "ml"}, "annotations": {"a/b": "c d"}},
                       "fieldPathAsEnv": [{"name": k, "fieldPath": v}
                                          for k, v in fields.items()]}})
    for _ in range(2):
        dugout.ok("run", path)
        task = dugout.ok("show", "@latest", "--json").json["tasks"][0]
        assert task["outputs"]["parameters"] == {"Output": "ml c d  127.0.0.1 default"}
        assert task["labels"] == {"team": "ml"} and task["annotations"] == {"a/b": "c d"}
    assert task["cached"]


def test_the_security_context_sets_the_user(dugout, kube):
    path = kube({"a": sh("id -u; id -g"), "b": sh("id -u; id -g")},
                {"a": {"securityContext": {"runAsUser": 1234}},
                 "b": {"securityContext": {"runAsUser": 1234, "runAsGroup": 77,
                                           "runAsNonRoot": True}}})
    dugout.ok("run", path)
    assert dugout.ok("logs", "@latest/a").out.split() == ["1234", "0"]
    assert dugout.ok("logs", "@latest/b").out.split() == ["1234", "77"]
    r = dugout("run", kube({"t": sh("true")}, {"t": {"securityContext": {"runAsNonRoot": True}}}))
    assert r.rc == 2 and "runAsNonRoot is set, and image tiny runs as root" in r.err, r


def test_a_time_out_of_the_task_is_retried(dugout, kube):
    script = ('if [ "$KFP_RETRY_INDEX" = 0 ]; then exec sleep 600; fi; echo second')
    seconds = 1
    while True:  # until the second attempt, which does nothing, is quick enough
        path = kube({"t": {**sh(script), "retry": {"maxRetryCount": 1}}},
                    {"t": {"activeDeadlineSeconds": str(seconds)}})
        r = dugout("run", path)
        assert "attempt 1: stopped: the task's time-out of " in r.err, r
        if r.rc == 0:
            break
        seconds *= 4
        assert seconds < 60, r
    assert dugout.ok("logs", "@latest/t").out == "second\n"
    r = dugout("run", kube({"t": sh("sleep 600")}, {"t": {"activeDeadlineSeconds": 1}}))
    assert r.rc == 1 and "the task's time-out of 1.0 s was reached" in r.err, r


def test_placement_is_noted_and_its_parameters_are_still_checked(dugout, kube):
    settings = {"nodeSelector": {"nodeSelectorJson": {"componentInputParameter": "where"}},
                "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
                "imagePullPolicy": "Always", "imagePullSecret": [{"secretName": "hub"}]}
    inputs = {"parameters": {"where": {"parameterType": "STRING"}}}
    path = kube({"t": sh("true")}, {"t": settings}, inputs=inputs)
    r = dugout.ok("run", path, "-p", 'where={"disk": "ssd"}')
    for field in ("nodeSelector", "tolerations", "imagePullSecret"):
        assert field + ": ignored: it means nothing on one machine" in r.err, r
    assert "imagePullPolicy Always: the local copy" in r.err
    r = dugout("run", path, "-p", "where=[1]")
    assert r.rc == 1 and "nodeSelectorJson wants a JSON object, got list" in r.err, r


@pytest.mark.parametrize("settings, want", [
    ({"secretAsVolumes": []}, 'unknown field "secretAsVolumes", did you mean "secretAsVolume"'),
    ({"pvcMount": [{"constant": "v", "mountPath": "/d", "readOnly": True}]},
     'pvcMount.0: unknown field "readOnly"'),
])
def test_an_unknown_field_is_refused_unless_lenient(dugout, kube, settings, want):
    (dugout.home / "volumes" / "v").mkdir(parents=True)
    path = kube({"t": sh("true")}, {"t": settings})
    r = dugout("run", path)
    assert r.rc == 2 and want in r.err.replace("[", ".").replace("]", ""), r
    dugout.ok("run", path, "--lenient")


@pytest.mark.parametrize("settings, want", [
    ({"secretAsEnv": [{"keyToEnv": []}]}, "the name of the secret is missing"),
    ({"secretAsEnv": [env_from("secret", "../x", A="k")]}, '"../x" is no name of a secret'),
    ({"secretAsEnv": [env_from("secret", "x", A="../k")]}, '"../k" is no secretKey'),
    ({"pvcMount": [{"constant": "v", "mountPath": "d"}]}, "want an absolute mountPath"),
    ({"pvcMount": [{"constant": "v", "mountPath": "/d", "subPath": "a/../../b"}]},
     "subPath must stay below the volume"),
    ({"emptyDirMounts": [{"volumeName": "a", "mountPath": "/kfp-workspace/a"}]},
     "nothing can be mounted at or below /kfp-workspace"),
    ({"emptyDirMounts": [{"volumeName": "a", "mountPath": "/a"},
                         {"volumeName": "b", "mountPath": "/a/"}]},
     "two volumes are mounted at /a"),
    ({"imagePullPolicy": "Sometimes"}, "want Always, Never or IfNotPresent"),
    ({"fieldPathAsEnv": [{"name": "A", "fieldPath": "spec.secret"}]}, "there is no field"),
    ({"secretAsEnv": [{"secretNameParameter": {"componentInputParameter": "nope"},
                       "keyToEnv": []}]}, 'has no input parameter "nope"'),
    ({"secretAsEnv": [{"secretNameParameter": {"taskOutputParameter": {
        "producerTask": "nope", "outputParameterKey": "o"}}, "keyToEnv": []}]},
     'no output parameter "o" of a task "nope" beside it'),
])
def test_bad_settings_are_refused_where_they_stand(dugout, kube, settings, want):
    r = dugout("run", kube({"t": sh("true")}, {"t": settings}))
    assert r.rc == 2, r
    assert want in r.err and re.match(r"dugout: \S+kube.yaml:\d+:\d+: ", r.err), r




# ---- volumes that tasks make and drop --------------------------------------------------------


def with_chores(path, executors=None, inputs=None, artifact=()):
    """Turn tasks of a written pipeline into importers or pseudo tasks: task -> executor."""
    text = path.read_text()
    head, _, rest = text.partition("\n")
    spec_text, _, platform = rest.partition("\n---\n")
    spec = json.loads(spec_text)
    for task, executor in (executors or {}).items():
        spec["deploymentSpec"]["executors"]["exec-" + task] = executor
    for task, params in (inputs or {}).items():
        defs = spec["components"]["comp-" + task].setdefault("inputDefinitions", {})
        defs["parameters"] = {n: {"parameterType": "STRING", "isOptional": True} for n in params}
        node = spec["root"]["dag"]["tasks"][task].setdefault("inputs", {})
        node["parameters"] = params
        for source in params.values():
            if "taskOutputParameter" in source:
                spec["root"]["dag"]["tasks"][task].setdefault("dependentTasks", []).append(
                    source["taskOutputParameter"]["producerTask"])
    for task in artifact:
        spec["components"]["comp-" + task]["outputDefinitions"] = {
            "artifacts": {"artifact": {"artifactType": {"schemaTitle": "system.Dataset",
                                                        "schemaVersion": "0.0.1"}}}}
    path.write_text(head + "\n" + json.dumps(spec) + ("\n---\n" + platform if platform else ""))
    return path


def stub(name):
    return {"container": {"image": "argostub/" + name}}


def of_task(task, key):
    return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}


def test_a_volume_is_made_used_and_dropped_by_tasks(dugout, kube):
    mount = {"pvcMount": [{"pvcNameParameter": of_task("make", "name"), "mountPath": "/d"}]}
    path = kube({"make": {"out": {"name": "STRING"}},
                 "write": sh("echo hello > /d/f"),
                 "read": {**sh("cat /d/f"), "after": ["write"]},
                 "drop": {"after": ["read"]}},
                {"write": mount, "read": mount})
    with_chores(path, {"make": stub("createpvc"), "drop": stub("deletepvc")},
                {"make": {"pvc_name_suffix": constant("-data"), "size": constant("1Gi")},
                 "drop": {"pvc_name": of_task("make", "name")}})
    for _ in range(2):
        dugout.ok("run", path)
        assert dugout.ok("logs", "@latest/read").out == "hello\n"
        tasks = {t["name"]: t for t in dugout.ok("show", "@latest", "--json").json["tasks"]}
        assert tasks["make"]["outputs"]["parameters"]["name"].endswith("-data")
        assert not tasks["make"]["cached"]
    assert not list((dugout.home / "volumes").iterdir())
    assert not list((dugout.home / "trash").iterdir())


def test_a_volume_that_is_there_already_is_not_made_again_but_a_hit(dugout, kube, tmp_path):
    path = kube({"make": {"out": {"name": "STRING"}}})
    with_chores(path, {"make": stub("createpvc")},
                {"make": {"pvc_name": constant("mine"), "size": constant("1Gi")}})
    dugout.ok("run", path)
    assert "cached     make" in dugout.ok("run", path).err
    r = dugout("run", path, "--no-cache")
    assert r.rc == 1 and "volume mine exists already" in r.err, r
    drop = kube({"drop": {}})
    with_chores(drop, {"drop": stub("deletepvc")}, {"drop": {"pvc_name": constant("outside")}})
    (tmp_path / "outside").mkdir()
    (dugout.home / "config.yaml").write_text("volumes: {outside: %s}\n" % (tmp_path / "outside"))
    r = dugout("run", drop)
    assert r.rc == 1 and "is set in the config" in r.err and (tmp_path / "outside").is_dir(), r


# ---- importers -------------------------------------------------------------------------------


def importer(uri, reimport=False, metadata=None, workspace=False, type_="system.Dataset"):
    return {"importer": {"artifactUri": uri, "reimport": reimport, "metadata": metadata or {},
                         "downloadToWorkspace": workspace,
                         "typeSchema": {"schemaTitle": type_, "schemaVersion": "0.0.1"}}}


IN_PATH = "{{$.inputs.artifacts['d'].path}}"


def importing(kube, uri, show="cat \"$0\"", config=None, **kw):
    path = kube({"imp": {"art_out": {"artifact": "system.Dataset"}},
                 "use": {**sh(show, IN_PATH), "art_in": {"d": "imp.artifact"}, "cache": False}},
                config=config)
    return with_chores(path, {"imp": importer({"constant": uri}, **kw)})


def artifact_of(d, task="imp"):
    tasks = {t["name"]: t for t in d.ok("show", "@latest", "--json").json["tasks"]}
    return tasks[task]["outputs"]["artifacts"]["artifact"][0]


def test_files_and_directories_of_this_machine_are_imported(dugout, kube, tmp_path):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "x").write_text("deep\n")
    (tmp_path / "f.csv").write_text("one\n")
    for uri, show, want in ((str(tmp_path / "f.csv"), 'cat "$0"', "one\n"),
                            ("file://%s/f.csv" % tmp_path, 'cat "$0"; basename "$0"',
                             "one\nf.csv\n"),
                            (str(tmp_path / "d"), 'cat "$0"/sub/x', "deep\n")):
        dugout.ok("run", importing(kube, uri, show))
        assert dugout.ok("logs", "@latest/use").out == want
        task = dugout.ok("show", "@latest", "--json").json["tasks"][0]
        assert task["kind"] == "importer" and task["state"] == "SUCCEEDED"
    shown = dugout.ok("artifact", "show", "a%d" % artifact_of(dugout)["id"], "--json").json
    assert shown["source"] == str(tmp_path / "d")


def test_what_is_imported_is_hashed_every_time_and_reused_when_equal(dugout, kube, tmp_path):
    f = tmp_path / "f"
    f.write_text("one\n")
    seen = []
    for text, reimport in (("one\n", False), ("one\n", False), ("one\n", True), ("two\n", False)):
        f.write_text(text)
        dugout.ok("run", importing(kube, str(f), reimport=reimport))
        assert dugout.ok("logs", "@latest/use").out == text
        seen.append(artifact_of(dugout)["id"])
    first, again, new, changed = seen
    assert first == again and len({first, new, changed}) == 3


def test_metadata_takes_parameters_and_keeps_their_kind(dugout, kube, tmp_path):
    (tmp_path / "f").write_text("x")
    path = importing(kube, str(tmp_path / "f"),
                     metadata={"rows": "{{$.inputs.parameters['metadata']}}",
                               "{{$.inputs.parameters['metadata-2']}}": "v",
                               "text": "n={{$.inputs.parameters['metadata']}}"})
    with_chores(path, inputs={"imp": {"metadata": constant(5), "metadata-2": constant("key")}})
    spec = path.read_text().replace('"metadata": {"parameterType": "STRING"',
                                    '"metadata": {"parameterType": "NUMBER_INTEGER"')
    path.write_text(spec)
    dugout.ok("run", path)
    assert artifact_of(dugout)["metadata"] == {"rows": 5, "key": "v", "text": "n=5"}


def test_buckets_are_directories_where_the_config_says_so(dugout, kube, tmp_path):
    (tmp_path / "b" / "x").mkdir(parents=True)
    (tmp_path / "b" / "x" / "data").write_text("from a bucket\n")
    (dugout.home / "config.yaml").write_text(
        'imports: {"gs://bucket/": %s, "https://host/": %s}\n' % (tmp_path / "b", tmp_path / "b"))
    dugout.ok("run", importing(kube, "gs://bucket/x/data", 'echo "$0"; cat "$0"'))
    assert dugout.ok("logs", "@latest/use").out == "/gcs/bucket/x/data\nfrom a bucket\n"
    dugout.ok("run", importing(kube, "https://host/x/data"))
    assert dugout.ok("logs", "@latest/use").out == "from a bucket\n"
    r = dugout("run", importing(kube, "gs://bucket/../secret"))
    assert r.rc == 2 and '".." is not allowed' in r.err, r
    r = dugout("run", importing(kube, "gs://bucket/none"))
    assert r.rc == 3 and "task imp: " in r.err and "/b/none is not here" in r.err, r


def test_what_cannot_be_fetched_is_recorded_and_fails_who_needs_it(dugout, kube):
    r = dugout("run", importing(kube, "s3://elsewhere/x"))
    assert r.rc == 1 and "s3://elsewhere/x is recorded and not fetched" in r.err, r
    assert dugout.states() == {"imp": "SUCCEEDED", "use": "FAILED"}
    assert "imports" in r.err and "cannot be fetched" in r.err, r


def test_artifacts_are_imported_by_digest_and_by_the_uri_we_gave(dugout, kube):
    path = kube({"make": {**sh('echo made > "$0"; echo -n "$1" > "$2"',
                               "{{$.outputs.artifacts['o'].path}}",
                               "{{$.outputs.artifacts['o'].uri}}", out_param("uri")),
                          "art_out": {"o": "system.Dataset"}, "out": {"uri": "STRING"}},
                 "imp": {"art_out": {"artifact": "system.Dataset"}},
                 "use": {**sh('cat "$0"', IN_PATH), "art_in": {"d": "imp.artifact"},
                         "cache": False}})
    with_chores(path, {"imp": importer({"runtimeParameter": "uri"})},
                {"imp": {"uri": of_task("make", "uri")}})
    dugout.ok("run", path)
    assert dugout.ok("logs", "@latest/use").out == "made\n"
    digest = artifact_of(dugout)["digest"]
    for uri in (digest, "cas:" + digest):
        dugout.ok("run", importing(kube, uri))
        assert dugout.ok("logs", "@latest/use").out == "made\n"
    r = dugout("run", importing(kube, "sha256:" + "0" * 64))
    assert r.rc == 1 and "imp" in r.err, r


@pytest.mark.parametrize("uri, rc, want", [
    ("/no/such/file", 3, "task imp: /no/such/file is not here"),
    ("file://host/x", 2, "want file:///PATH"),
    ("data/x", 1, "neither an absolute path nor a URI"),
    ("", 1, "must be a non-empty string"),
])
def test_bad_imports_say_what_is_wrong(dugout, kube, uri, rc, want):
    r = dugout("run", importing(kube, uri))
    assert r.rc == rc and want in r.err, r


def test_a_model_car_shows_the_models_of_its_image(dugout, kube, tmp_path):
    (tmp_path / "car" / "models").mkdir(parents=True)
    (tmp_path / "car" / "models" / "config.json").write_text("{}")
    (tmp_path / "car" / "bin").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "car", "-cf", tmp_path / "car.tar", "."], check=True)
    path = kube({"imp": {"art_out": {"artifact": "system.Model"}},
                 "use": {**sh('echo "$0"; ls "$0"', IN_PATH), "art_in": {"d": "imp.artifact"}}})
    with_chores(path, {"imp": importer({"constant": "oci://registry.local/car:1"},
                                       type_="system.Model")})
    r = dugout("run", path)
    assert r.rc == 1 and "image registry.local/car:1 is not here" in r.err, r
    dugout.ok("image", "import", tmp_path / "car.tar", "--name", "registry.local/car:1")
    dugout.ok("run", path)
    assert dugout.ok("logs", "@latest/use").out == "/oci/registry.local_car:1/models\nconfig.json\n"
    assert "cached     use" in dugout.ok("run", path).err
    dugout.ok("image", "import", tmp_path / "car.tar", "--name", "registry.local/car:1")
    (tmp_path / "car" / "models" / "config.json").write_text("{1}")
    subprocess.run(["tar", "-C", tmp_path / "car", "-cf", tmp_path / "car.tar", "."], check=True)
    dugout.ok("image", "import", tmp_path / "car.tar", "--name", "registry.local/car:1")
    assert "started    use" in dugout.ok("run", path).err


# ---- the workspace ----------------------------------------------------------------------------

WORKSPACE = {"workspace": {"size": "1Gi", "kubernetes": {"pvcSpecPatch": {
    "accessModes": ["ReadWriteOnce"]}}}}


def test_tasks_of_a_run_share_its_workspace(dugout, kube):
    path = kube({"a": sh("echo hi > /kfp-workspace/f"),
                 "b": {**sh('cat "$0"/f', "{{$.workspace_path}}"), "after": ["a"]},
                 "c": {**sh("test ! -e /kfp-worksp""*"), "after": ["a"]}},
                config=WORKSPACE)
    dugout.ok("run", path)
    assert dugout.ok("logs", "@latest/b").out == "hi\n"
    r = dugout.ok("run", path)
    cached = {t["name"]: t["cached"] for t in dugout.ok("show", "@latest", "--json").json["tasks"]}
    assert cached == {"a": False, "b": False, "c": True}, r
    assert len(list(dugout.home.glob("runs/*/workspace"))) == 2
    dugout.ok("gc", "--keep-runs", "0", "--keep-days", "0", "--grace", "0s")
    assert not list(dugout.home.glob("runs/*/workspace"))


def test_a_workspace_that_the_pipeline_does_not_have_is_refused(dugout, kube):
    r = dugout("run", kube({"a": sh("ls {{$.workspace_path}}")}))
    assert r.rc == 2 and "the pipeline has no workspace" in r.err, r


def test_an_import_into_the_workspace_is_a_copy_that_tasks_may_change(dugout, kube, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("x\n")
    show = 'echo "$0"; cat "$0"/x; echo more >> "$0"/x'
    path = importing(kube, str(tmp_path / "d"), show, config=WORKSPACE, workspace=True)
    dugout.ok("run", path)
    out = dugout.ok("logs", "@latest/use").out
    assert re.match(r"/kfp-workspace/\.artifacts/\S+/d\nx\n$", out), out
    assert (tmp_path / "d" / "x").read_text() == "x\n"
    assert artifact_of(dugout)["metadata"] == {"_kfp_workspace": True}
    dugout.ok("run", path)
    assert dugout.ok("logs", "@latest/use").out == out
    r = dugout("run", importing(kube, str(tmp_path / "d"), workspace=True))
    assert r.rc == 1 and "downloadToWorkspace wants a workspace" in r.err, r



def test_links_that_tasks_leave_lead_nowhere(dugout, kube, tmp_path):
    """In a volume and in the workspace, which the host's root writes to and mounts from."""
    (dugout.home / "volumes" / "v" / "real").mkdir(parents=True)
    (tmp_path / "host").mkdir()
    (tmp_path / "f").write_text("x")
    link = sh('ln -s "$0" /v/sub; ln -s ../../../../../.. /v/up; mkdir -p /kfp-workspace; '
              'ln -s "$0" /kfp-workspace/.artifacts', str(tmp_path / "host"))
    claim = {"pvcMount": [{"constant": "v", "mountPath": "/v"}]}
    path = kube({"link": link,
                 "imp": {"art_out": {"artifact": "system.Dataset"}, "after": ["link"]}},
                {"link": claim}, config=WORKSPACE)
    with_chores(path, {"imp": importer({"constant": str(tmp_path / "f")}, workspace=True)})
    r = dugout("run", path)
    assert r.rc == 1 and "in the workspace" in r.err, r
    assert not list((tmp_path / "host").iterdir())
    for sub in ("sub", "up"):
        r = dugout("run", kube({"t": sh("ls /m")}, {"t": {"pvcMount": [
            {"constant": "v", "mountPath": "/m", "subPath": sub}]}}))
        assert r.rc == 1 and "it leads through a link" in r.err, r
    dugout.ok("run", kube({"t": sh("touch /m/x")}, {"t": {"pvcMount": [
        {"constant": "v", "mountPath": "/m", "subPath": "real"}]}}))
    assert (dugout.home / "volumes" / "v" / "real" / "x").exists()


# ---- the pipeline as a whole ------------------------------------------------------------------


def test_runs_that_share_a_mutex_do_not_run_at_the_same_time(dugout, kube, tmp_path):
    script = ("test ! -e /d/busy || touch /d/both; touch /d/busy; "
              "until [ -e /d/go ]; do sleep 0.1; done; rm /d/busy")
    (dugout.home / "volumes" / "v").mkdir(parents=True)
    path = kube({"t": sh(script)}, {"t": {"pvcMount": [{"constant": "v", "mountPath": "/d"}]}},
                config={"mutexName": "only/one"})
    said = [tmp_path / "one", tmp_path / "two"]
    both = [dugout.start("run", path, stderr=open(f, "w")) for f in said]
    words = "waiting for another run that holds the mutex only/one"
    wait_until(lambda: any(words in f.read_text() for f in said))
    wait_until((dugout.home / "volumes" / "v" / "busy").exists)
    (dugout.home / "volumes" / "v" / "go").touch()
    assert [p.wait(300) for p in both] == [0, 0], [f.read_text() for f in said]
    assert not (dugout.home / "volumes" / "v" / "both").exists()
    assert sum(words in f.read_text() for f in said) == 1


# ---- init containers ---------------------------------------------------------------------------


def init(name, script, **kw):
    return {"name": name, "image": "tiny", "command": ["sh", "-c"], "args": [script], **kw}


def test_init_containers_run_one_after_the_other_before_the_task(dugout, kube):
    mount = [{"volumeName": "work", "mountPath": "/shared"}]
    path = kube({"t": sh("cat /w/log; echo task")},
                {"t": {"emptyDirMounts": [{"volumeName": "work", "mountPath": "/w",
                                           "medium": "Memory"}],
                       "initContainers": [
                           init("one", 'echo "one $WHO" >> /shared/log; echo from one',
                                volumeMounts=mount, env=[{"name": "WHO", "value": "me"}]),
                           init("two", "echo two >> /shared/log; test ! -e /w",
                                volumeMounts=mount,
                                resources={"limits": {"cpu": "1", "memory": "64Mi"}})]}})
    dugout.ok("run", path)
    assert dugout.ok("logs", "@latest/t").out == "from one\none me\ntwo\ntask\n"
    assert "cached     t" in dugout.ok("run", path).err
    assert not list(dugout.home.glob("runs/*/*/volumes"))


def test_a_failed_init_container_fails_the_attempt_and_is_retried(dugout, kube):
    path = kube({"t": {**sh("echo never"), "retry": {"maxRetryCount": 1}}},
                {"t": {"initContainers": [init("check", "echo no; exit 3")]}})
    r = dugout("run", path)
    assert r.rc == 1 and "init container check: exit code 3" in r.err, r
    task = dugout.ok("show", "@latest", "--json").json["tasks"][0]
    assert task["attempts"] == 2 and task["exit_code"] == 3
    assert dugout.ok("logs", "@latest/t").out == "no\n"


SHARED_DIR = [{"volumeName": "work", "mountPath": "/shared"}]
AWAIT = "n=0; until %s; do n=$((n+1)); test $n -lt 1200 || exit 9; sleep 0.05; done; "


def side(name, script, **kw):
    return init(name, script, restartPolicy="Always", volumeMounts=SHARED_DIR, **kw)


def with_sides(kube, task, *containers, **more):
    return kube({"t": {**sh(task), **more}},
                {"t": {"emptyDirMounts": [{"volumeName": "work", "mountPath": "/w"}],
                       "initContainers": list(containers)}})


def test_a_side_car_lives_beside_its_task_and_shares_its_network(dugout, kube):
    car = ("echo $(($(cat /shared/n 2>/dev/null || echo 0) + 1)) >/shared/n; "
           'test "$(cat /shared/n)" -gt 1 || exit 3; '  # what it leaves with does not count
           "trap 'echo side car says bye; exit 0' TERM; "
           "readlink /proc/self/ns/net >/shared/new; mv /shared/new /shared/net; "
           "while :; do sleep 0.05; done")
    wait = init("wait", AWAIT % "test -e /shared/net" + "echo it is up", volumeMounts=SHARED_DIR)
    path = with_sides(kube, 'test "$(cat /w/net)" = "$(readlink /proc/self/ns/net)" && echo same;'
                      "cat /w/n", side("car", car), wait)
    dugout.ok("run", path)
    log = dugout.ok("logs", "@latest/t").out.replace("Terminated\n", "")  # its sleep, says the shell
    assert log == "it is up\nsame\n2\nside car says bye\n"
    assert not list(dugout.home.glob("runs/*/*/side*"))


def test_a_side_car_that_does_not_listen_is_killed(dugout, kube):
    (dugout.home / "config.yaml").write_text("grace: 1s\n")
    dugout.ok("run", with_sides(kube, AWAIT % "test -e /w/up" + "exit 0",
                                side("deaf", "trap '' TERM; : >/shared/up; while :; do sleep 1; done")))


def test_a_side_car_that_cannot_be_started_fails_the_attempt(dugout, kube):
    r = dugout("run", with_sides(kube, "echo never", {**side("car", ""), "command": ["/nope"]}))
    assert r.rc == 1 and "side car car: " in r.err and "/nope" in r.err, r
    r = dugout("run", with_sides(kube, "echo never", {**side("car", ""), "image": "nowhere/absent:1"}))
    assert r.rc == 3 and "side car car: image nowhere/absent:1 is not here" in r.err, r


def processes(word):
    found = []
    for p in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in p.read_bytes().decode(errors="replace").split("\0"):
                found.append(p.parent.name)
        except OSError:
            pass
    return found


def test_a_side_car_ends_with_its_supervisor_and_exec_finds_the_task(dugout, kube):
    word = "765%d" % os.getpid()  # no other suite on this machine sleeps for just as long
    p = dugout.start("run", with_sides(kube, "echo here >/tmp/mark; sleep 600",
                                       side("car", "sleep " + word), retry={"maxRetryCount": 0}))
    wait_until(lambda: dugout("exec", "@latest/t", "cat", "/tmp/mark").out == "here\n")
    wait_until(lambda: processes(word))
    (pid,) = dugout.home.glob("runs/*/*/pid")
    os.kill(int(pid.read_text().split()[0]), 9)
    # the host's failure is put right by another attempt, which is canceled with the run
    wait_until(lambda: len(list(dugout.home.glob("runs/*/*/pid"))) == 2
                    and len(processes(word)) <= 3)
    p.send_signal(2)
    p.communicate(timeout=300)
    wait_until(lambda: not processes(word))


@pytest.mark.parametrize("container, rc, want", [
    (init("side", "true", restartPolicy="Never"), 2, "want Always"),
    (init("a", "true", volumeMounts=[{"volumeName": "v", "mountPath": "/v"}]), 2,
     '"v" is no emptyDir or ephemeral volume of this task'),
    ({**init("a", "true"), "image": "nowhere/absent:1"}, 3,
     "init container a: image nowhere/absent:1 is not here"),
])
def test_init_containers_that_cannot_run_are_refused(dugout, kube, container, rc, want):
    r = dugout("run", kube({"t": sh("true")}, {"t": {"initContainers": [container]}}))
    assert r.rc == rc and want in r.err, r


def test_plan_names_what_is_missing(dugout, kube):
    path = kube({"t": sh("true")}, {"t": {"secretAsEnv": [env_from("secret", "db", P="k")]}})
    r = dugout("plan", path, "--json")
    assert r.rc == 3 and any("secret db is not here" in m for m in r.json["missing"]), r


# ---- settings that a component passes on --------------------------------------------------------


def test_settings_are_passed_on_and_applied_only_where_they_should(dugout, kube):
    secret(dugout, "db", k="v")
    path = kube({"t": {**sh('echo "${A-unset} ${B-unset}"; ls /m 2>/dev/null; echo "$0"',
                            "{{$.inputs.parameters['config']}}"),
                       "env": {"A": "1"},
                       "resources": {"resourceCpuLimit": "500m", "resourceMemoryLimit": "64Mi"}}},
                {"t": {"secretAsEnv": [env_from("secret", "db", B="k")],
                       "pvcMount": [{"constant": "data", "mountPath": "/m"}],
                       "nodeSelector": {"labels": {"disk": "ssd"}},
                       "tolerations": [{"key": "gpu", "operator": "Exists"}]}})
    text = path.read_text()
    head, _, rest = text.partition("\n")
    spec_text, _, platform = rest.partition("\n---\n")
    spec = json.loads(spec_text)
    spec["components"]["comp-t"]["inputDefinitions"] = {
        "parameters": {"config": {"parameterType": "TASK_CONFIG", "isOptional": True}}}
    spec["components"]["comp-t"]["taskConfigPassthroughs"] = [
        {"field": "ENV", "applyToTask": True}, {"field": "KUBERNETES_VOLUMES"},
        {"field": "KUBERNETES_NODE_SELECTOR"}, {"field": "KUBERNETES_TOLERATIONS"},
        {"field": "RESOURCES", "applyToTask": True}]
    path.write_text(head + "\n" + json.dumps(spec) + "\n---\n" + platform)
    dugout.ok("run", path)  # the volume does not exist: it is only passed on
    first, config = dugout.ok("logs", "@latest/t").out.splitlines()
    assert first == "1 v"
    assert json.loads(config) == {
        "affinity": None, "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "nodeSelector": {"disk": "ssd"},
        "env": [{"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/m"}],
        "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {}}}
    path.write_text(head + "\n" + json.dumps(spec).replace('"ENV", "applyToTask": true',
                                                           '"ENV", "applyToTask": false')
                    + "\n---\n" + platform)
    dugout.ok("run", path)
    assert dugout.ok("logs", "@latest/t").out.startswith("unset unset\n")



def test_a_checkpoint_survives_the_attempts_of_its_task(dugout, kube):
    script = ('cat "$DUGOUT_CHECKPOINT_DIR"/step 2>/dev/null; '
              'echo "attempt $KFP_RETRY_INDEX of $KFP_POD_NAME" > "$DUGOUT_CHECKPOINT_DIR"/step; '
              'test "$KFP_RETRY_INDEX" = 1')
    path = kube({"t": {**sh(script), "retry": {"maxRetryCount": 1}}})
    dugout.ok("run", path, "--name", "r")
    assert dugout.ok("logs", "@latest/t").out == "attempt 0 of r-t\n"


def test_a_checkpoint_of_an_older_version_is_found_where_that_one_left_it(dugout, kube):
    path = kube({"t": sh('cd "$DUGOUT_CHECKPOINT_DIR" && cat step || { echo 41 >step; exit 1; }')})
    assert dugout("run", path).rc == 1
    door = next(dugout.home.glob("runs/*/*.checkpoint"))
    (door / "in" / "step").rename(door / "step")
    (door / "in").rmdir()
    door.chmod(0o777)
    dugout.ok("resume", "@latest")
    assert dugout.ok("logs", "@latest/t").out == "41\n"


def test_plan_knows_importers_and_volumes(dugout, kube, tmp_path):
    (tmp_path / "f").write_text("x")
    path = kube({"imp": {"art_out": {"artifact": "system.Dataset"}},
                 "make": {"out": {"name": "STRING"}}})
    with_chores(path, {"imp": importer({"constant": str(tmp_path / "f")}),
                       "make": stub("createpvc")}, {"make": {"size": constant("1Gi")}})
    r = dugout.ok("plan", path, "--json").json
    assert r["missing"] == [] and r["images"] == []


def test_secrets_that_others_can_read_are_noticed(dugout, kube):
    secret(dugout, "db", k="v")
    (dugout.home / "secrets").chmod(0o755)
    path = kube({"t": sh("true")}, {"t": {"secretAsEnv": [env_from("secret", "db", P="k")]}})
    assert "chmod 700 it" in dugout.ok("run", path).err


@pytest.fixture
def endless(kube, tmp_path):
    """An import of a sparse file: hours to hash, no room taken."""
    with open(tmp_path / "big", "wb") as f:
        f.truncate(8 << 40)
    return importing(kube, str(tmp_path / "big"))


def test_an_import_is_stopped_by_its_run_s_time_out(dugout, endless):
    r = dugout("run", endless, "--timeout", "2s")
    assert r.rc == 124, r


def test_an_import_is_stopped_when_its_run_is_canceled(dugout, endless):
    p = dugout.start("run", endless)
    wait_until(lambda: dugout("show", "@latest", "--json").rc == 0
               and dugout.states()["imp"] == "RUNNING")
    p.terminate()
    err = p.communicate(timeout=300)[1]
    assert p.returncode == 143, err
    assert dugout.states() == {"imp": "CANCELED", "use": "CANCELED"}


# ---- KFP's own test data -----------------------------------------------------------------------

CRITICAL = SHARED / "kfp-corpus" / "critical"
corpus = pytest.mark.skipif(not CRITICAL.exists(), reason="no corpus: set DUGOUT_SHARED to the "
                                                          "folder that holds kfp-corpus")


def aliased(d):
    """The python image under the names that the corpus uses."""
    for name in ("python:3.11", "registry.access.redhat.com/ubi9/python-311:latest"):
        d.ok("image", "tag", "python:3.12-slim", name)
    return d


@corpus
@pytest.mark.parametrize("name, want", [
    ("pipeline_with_workspace", {"Output": "Hello from workspace!"}),
    ("pipeline_with_importer_workspace",
     {"train_result": "123", "dir_result": "part-000.txt,part-001.txt"}),
    ("pipeline_with_pod_metadata", {}),
    ("missing_kubernetes_optional_inputs", {}),
    ("pipeline_with_volume_long_name", {}),
    ("pipeline_with_env", {}),
    ("pipeline_with_secret_as_env", {}),
])
def test_the_corpus_ends_as_its_index_says(python_home, name, want):
    d = aliased(python_home)
    d.ok("image", "tag", "python:3.12-slim", "alpine")
    secret(d, "test-secret-1", username="user1")
    secret(d, "test-secret-2", password="psw1")
    secret(d, "test-secret-3", password="psw2")
    r = d.ok("run", CRITICAL / (name + ".yaml"), "--json", timeout=300).json
    assert r["state"] == "SUCCEEDED"
    assert {k: r["outputs"]["parameters"][k] for k in want} == want
    if name == "pipeline_with_pod_metadata":
        assert all(t["outputs"]["parameters"]["Output"] is True for t in r["tasks"])


@corpus
def test_the_model_car_of_the_corpus(python_home, tmp_path):
    d = aliased(python_home)
    names = ("added_tokens.json config.json generation_config.json merges.txt model.safetensors "
             "normalizer.json preprocessor_config.json special_tokens_map.json tokenizer.json "
             "tokenizer_config.json vocab.json").split()
    (tmp_path / "models").mkdir()
    for name in names:
        (tmp_path / "models" / name).touch()
    subprocess.run(["tar", "-C", tmp_path, "-cf", tmp_path / "car.tar", "models"], check=True)
    d.ok("image", "import", tmp_path / "car.tar", "--name", "registry.domain.local/modelcar:test")
    run = d.ok("run", CRITICAL / "modelcar.yaml", "--json").json
    tasks = {t["name"]: t for t in run["tasks"]}
    assert tasks["get-model-files-list"]["outputs"]["parameters"]["Output"] == ", ".join(names)
    made = tasks["build-model-car"]["outputs"]["artifacts"]["model"][0]
    shown = d.ok("artifact", "show", "a%d" % made["id"], "--json").json
    assert shown["uri"] == "oci://registry.domain.local/org/repo:v1.0"
