# SPDX-License-Identifier: Apache-2.0
"""Every form in which KFP's tools write a pipeline runs, and gives the same result.

Which files are refused, and how, is in test_spec.py.
"""
import gzip
import io
import json
import re
import tarfile
import zipfile

import pytest

from conftest import out_param, pipeline, sh

COPY = 'mkdir -p "$(dirname "$1")"; printf %s "$0" >"$1"'


def spec(default="spec"):
    return json.loads(pipeline(
        {"t": {**sh(COPY, "{{$.inputs.parameters['x']}}", out_param("y")),
               "inp": {"x": "x"}, "out": {"y": "STRING"}}},
        inputs={"parameters": {"x": {"parameterType": "STRING", "defaultValue": default,
                                     "isOptional": True},
                               "n": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1.0,
                                     "isOptional": True}}},
        outputs={"y": "t.y"}))


PLATFORM = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-t": {
    "nodeSelector": {"labels": {"gpu": "big"}}}}}}}}


def snake(doc):
    """The keys of the schema in snake_case, as other writers have them."""
    if isinstance(doc, list):
        return [snake(d) for d in doc]
    if not isinstance(doc, dict):
        return doc
    return {k if "-" in k else re.sub("([A-Z])", lambda m: "_" + m[1].lower(), k): snake(v)
            for k, v in doc.items()}


def yaml_of(*docs):
    """YAML that is no JSON: a stream of documents in block style."""
    yaml = pytest.importorskip("yaml")
    return "# PIPELINE DEFINITION\n# Name: p\n" + yaml.safe_dump_all(docs)


def zip_of(entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(name, text)
    return out.getvalue()


def tar_of(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


MANIFEST = [
    {"apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": "Pipeline",
     "metadata": {"name": "p"}, "spec": {"displayName": "p"}},
    {"apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": "PipelineVersion",
     "metadata": {"name": "p-1"},
     "spec": {"displayName": "one", "pipelineName": "p", "pipelineSpec": spec(),
              "platformSpec": PLATFORM}},
]
REQUEST = {"display_name": "nightly", "experiment_id": "e", "service_account": "sa",
           "pipeline_spec": {"pipeline_spec": spec(), "platform_spec": PLATFORM},
           "runtime_config": {"parameters": {"x": "request", "n": 3}}}
JOB = {"displayName": "job", "labels": {"a": "b"}, "pipelineSpec": spec(),
       "runtimeConfig": {"parameterValues": {"x": "job"}}}
OLD_JOB = {"pipelineSpec": spec(),
           "runtimeConfig": {"parameters": {"x": {"stringValue": "old"}, "n": {"intValue": "7"}}}}

FORMS = {  # name -> bytes or text, what the task sees
    "plain.yaml": (lambda: yaml_of(spec()), "spec"),
    "spec-first.yaml": (lambda: yaml_of(spec(), PLATFORM), "spec"),
    "platform-first.yaml": (lambda: yaml_of(PLATFORM, spec()), "spec"),
    "plain.json": (lambda: json.dumps(spec()), "spec"),
    "json-stream.yaml": (lambda: json.dumps(spec()) + "\n---\n" + json.dumps(PLATFORM), "spec"),
    "snake.json": (lambda: json.dumps(snake(spec())), "spec"),
    "manifest.yaml": (lambda: yaml_of(*MANIFEST), "spec"),
    "bare-request.json": (lambda: json.dumps({"pipeline_spec": spec()}), "spec"),
    "request.json": (lambda: json.dumps(REQUEST), "request"),
    "job.json": (lambda: json.dumps(JOB), "job"),
    "old-job.json": (lambda: json.dumps(OLD_JOB), "old"),
    "archive.zip": (lambda: zip_of({"README.md": "x", "some.yaml": yaml_of(spec())}), "spec"),
    "archive.tar.gz": (lambda: tar_of({"pipeline.yaml": yaml_of(spec(), PLATFORM), "b.yaml": "-"}),
                       "spec"),
    "request.zip": (lambda: zip_of({"request.json": json.dumps(REQUEST)}), "request"),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_runs_from_a_file_and_from_standard_input(dugout, tmp_path, name):
    content, want = FORMS[name]
    data = content()
    f = tmp_path / name
    f.write_bytes(data if isinstance(data, bytes) else data.encode())
    doc = dugout.ok("run", f, "--json").json
    assert doc["outputs"]["parameters"] == {"y": want}
    with open(f, "rb") as stdin:
        p = dugout.start("run", "-", "--json", stdin=stdin)
        out, err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    assert json.loads(out)["outputs"]["parameters"] == {"y": want}
    assert json.loads(out)["tasks"][0]["cached"], "it is the same pipeline"


def test_the_parameters_of_a_request_give_way_to_flags(dugout, tmp_path):
    f = tmp_path / "r.json"
    f.write_text(json.dumps(REQUEST))
    doc = dugout.ok("run", f, "--json", "-p", "x=flag").json
    assert doc["parameters"] == {"x": "flag", "n": 3}


def test_a_request_is_checked_like_flags_are(dugout, tmp_path):
    f = tmp_path / "r.json"
    for values, words in [({"y": 1}, 'no input parameter "y"'), ({"n": "3"}, "want NUMBER_INTEGER"),
                          ({"x": 3}, "want STRING")]:
        f.write_text(json.dumps({"pipeline_spec": spec(), "runtime_config": {"parameters": values}}))
        r = dugout("run", f)
        assert r.rc == 2 and words in r.err and "r.json:1:" in r.err, r


def test_a_request_without_the_pipeline_itself_says_so(dugout, tmp_path):
    f = tmp_path / "r.json"
    f.write_text(json.dumps({"pipeline_version_reference": {"pipeline_id": "p"}}))
    r = dugout("run", f)
    assert r.rc == 2 and "pipeline of a server" in r.err, r


def test_an_archive_may_not_unpack_to_more_than_the_limit(dugout, tmp_path):
    bomb = io.BytesIO()
    with tarfile.open(fileobj=bomb, mode="w:gz") as archive:
        info = tarfile.TarInfo("pipeline.yaml")
        info.size = 64 << 20
        archive.addfile(info, io.BytesIO(bytes(64 << 20)))
    (tmp_path / "bomb.tar.gz").write_bytes(bomb.getvalue())
    (tmp_path / "bomb.zip").write_bytes(zip_of({"pipeline.yaml": "\0" * (64 << 20)}))
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"just text"))
    for name, code, words in [("bomb.tar.gz", 5, "32 MiB"), ("bomb.zip", 5, "32 MiB"),
                              ("text.gz", 2, "no tar archive")]:
        r = dugout("run", tmp_path / name)
        assert r.rc == code and words in r.err and name in r.err, r


def test_a_run_keeps_the_text_that_it_was_given(dugout, tmp_path):
    f = tmp_path / "a.zip"
    f.write_bytes(zip_of({"some.yaml": yaml_of(spec())}))
    dugout.ok("run", f)
    assert dugout.ok("show", "@latest", "--spec").out == yaml_of(spec())


# ---- macros ----------------------------------------------------------------------------


def test_macros_are_filled_in_and_recorded(dugout, tmp_path):
    f = tmp_path / "p.json"
    f.write_text(json.dumps(spec()))
    text = "[[RunUUID]] [[CurrentTime.2006-01-02T15:04:05.000Z07:00]] " \
           "{{$.currentTime.strftime('%Y')}} [[ScheduledTime]] [[x]]"
    doc = dugout.ok("run", f, "--json", "-p", "x=" + text).json
    want = "%s %s %s [[ScheduledTime]] [[x]]" % (doc["run_id"], doc["created"], doc["created"][:4])
    assert doc["parameters"]["x"] == want
    assert doc["outputs"]["parameters"] == {"y": want}
