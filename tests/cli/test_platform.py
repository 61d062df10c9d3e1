# SPDX-License-Identifier: Apache-2.0
"""Kubernetes settings of a pipeline: secrets, config maps, volumes, users, time-outs, labels."""

import json
import os
import re
import stat

import pytest

from conftest import out_param, pipeline, sh


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
    script = ('if [ "$KFP_RETRY_INDEX" = 0 ]; then exec sleep 60; fi; echo second')
    path = kube({"t": {**sh(script), "retry": {"maxRetryCount": 1}}},
                {"t": {"activeDeadlineSeconds": "1"}})
    r = dugout.ok("run", path)
    assert "the task's time-out of 1.0 s was reached" in r.err, r
    assert dugout.ok("logs", "@latest/t").out == "second\n"
    r = dugout("run", kube({"t": sh("sleep 60")}, {"t": {"activeDeadlineSeconds": 1}}))
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


def test_plan_names_what_is_missing(dugout, kube):
    path = kube({"t": sh("true")}, {"t": {"secretAsEnv": [env_from("secret", "db", P="k")]}})
    r = dugout("plan", path, "--json")
    assert r.rc == 3 and any("secret db is not here" in m for m in r.json["missing"]), r
