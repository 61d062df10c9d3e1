# SPDX-License-Identifier: Apache-2.0
"""OpenLineage events, held against the rules of specification 2-0-2.

Its JSON schema is not ours to ship. The tables here say what it says of the parts that we write:
which members there are, which are required, of what type and format, which schema a facet names.
"""

import datetime
import json
import os
import re
import subprocess
import uuid

import pytest

from conftest import SHARED, sh, wait_until
from test_platform import importing, kube  # noqa: F401 (a fixture)
from test_report import step, tasks
from test_run import running

# the formats uuid (RFC 4122), uri (RFC 3986) and date-time (RFC 3339), as far as a pattern can say
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+\Z")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
EVENT_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
# which published schema says what a facet is; ours have one of their own
SCHEMAS = {
    "parent": "1-1-0/ParentRunFacet",
    "nominalTime": "1-0-1/NominalTimeRunFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "executionParameters": "1-0-0/ExecutionParametersRunFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "tags": "1-0-0/TagsRunFacet",
    "jobType": "2-0-3/JobTypeJobFacet",
    "sourceCode": "1-0-1/SourceCodeJobFacet",
    "version": "1-0-1/DatasetVersionDatasetFacet",
    "datasetType": "1-0-0/DatasetTypeDatasetFacet",
    "storage": "1-0-1/StorageDatasetFacet",
    "symlinks": "1-0-1/SymlinksDatasetFacet",
    "inputStatistics": "1-0-0/InputStatisticsInputDatasetFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
}

ANY = object()
REF = {"namespace": str, "name": str}


class Opt:
    def __init__(self, shape):
        self.shape = shape


def facet(**members):
    return {"_producer": URI, "_schemaURL": URI, **members}


RUN_FACETS = {
    "parent": facet(run={"runId": UUID}, job=REF, root={"run": {"runId": UUID}, "job": REF}),
    "nominalTime": facet(nominalStartTime=TIME, nominalEndTime=Opt(TIME)),
    "errorMessage": facet(message=str, programmingLanguage=str, stackTrace=Opt(str)),
    "executionParameters": facet(parameters=[{"key": str, "value": ANY}]),
    "processing_engine": facet(version=str, name=Opt(str)),
    "tags": facet(tags=[{"key": str, "value": str, "source": Opt(str)}]),
}
JOB_FACETS = {
    "jobType": facet(processingType=str, integration=str, jobType=Opt(str)),
    "sourceCode": facet(language=str, sourceCode=str),
}
DATASET_FACETS = {
    "version": facet(datasetVersion=str),
    "datasetType": facet(datasetType=str, subType=Opt(str)),
    "storage": facet(storageLayer=str, fileFormat=Opt(str)),
    "symlinks": facet(identifiers=[{"namespace": str, "name": str, "type": str}]),
    "dugout_metadata": facet(metadata=dict),
    "dugout_metrics": facet(metrics=dict),
}
STATISTICS = facet(rowCount=Opt(int), size=Opt(int), fileCount=Opt(int))
DATASET = {"namespace": str, "name": str, "facets": "dataset"}
EVENT = {
    "eventType": ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"),
    "eventTime": TIME,
    "producer": URI,
    "schemaURL": URI,
    "run": {"runId": UUID, "facets": "run"},
    "job": {"namespace": str, "name": str, "facets": "job"},
    "inputs": [{**DATASET, "inputFacets": Opt({"inputStatistics": STATISTICS})}],
    "outputs": [{**DATASET, "outputFacets": Opt({"outputStatistics": STATISTICS})}],
}
FACETS = {"run": RUN_FACETS, "job": JOB_FACETS, "dataset": DATASET_FACETS}


def fits(value, shape, where="event"):
    if shape is ANY:
        return
    if isinstance(shape, str):  # any of the facets of this kind
        shape = {k: Opt(v) for k, v in FACETS[shape].items()}
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for key in value:
            assert key in shape, "%s.%s is not in the specification" % (where, key)
        for key, want in shape.items():
            if isinstance(want, Opt):
                if key in value:
                    fits(value[key], want.shape, where + "." + key)
            else:
                assert key in value, "%s lacks %s" % (where, key)
                fits(value[key], want, where + "." + key)
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for i, item in enumerate(value):
            fits(item, shape[0], "%s[%d]" % (where, i))
    elif isinstance(shape, tuple):
        assert value in shape, where
    elif isinstance(shape, re.Pattern):
        assert isinstance(value, str) and shape.match(value), (where, value)
    else:
        assert isinstance(value, shape) and not (shape is int and isinstance(value, bool)), where


def check_schemas(event):
    """Every facet names the schema that it follows."""
    assert event["schemaURL"] == EVENT_SCHEMA
    datasets = event["inputs"] + event["outputs"]
    holders = [event["run"]["facets"], event["job"]["facets"], *(d["facets"] for d in datasets)]
    holders += [d[k] for d in datasets for k in ("inputFacets", "outputFacets") if k in d]
    for facets in holders:
        for key, facet_ in facets.items():
            url = facet_["_schemaURL"]
            if key in SCHEMAS:
                name = SCHEMAS[key].split("/")[1]
                assert url == "https://openlineage.io/spec/facets/%s.json#/$defs/%s" % (SCHEMAS[key], name)
            else:
                assert key.startswith("dugout_") and "openlineage.io/spec/facets" not in url


def no_twice(pairs):
    assert len({k for k, _ in pairs}) == len(pairs), "a member stands twice"
    return dict(pairs)


def export(dugout, *args):
    r = dugout.ok("export", "openlineage", "-", *args)
    events = [json.loads(line, object_pairs_hook=no_twice) for line in r.out.splitlines()]
    for e in events:
        fits(e, EVENT)
        check_schemas(e)
        datetime.datetime.fromisoformat(e["eventTime"].replace("Z", "+00:00"))
    check_story(events)
    return events


def check_story(events):
    """One START, at most one end, in order; what is inside another lies within its time."""
    begun, over, names = {}, {}, {}
    for e in events:
        run, kind = e["run"]["runId"], e["eventType"]
        assert run not in over, "an event after the end"
        if kind == "START":
            assert run not in begun, "two STARTs"
            begun[run] = e
        else:
            assert run in begun, "an end without a START"
            over[run] = e
        assert names.setdefault(run, e["job"]["name"]) == e["job"]["name"]
        parent = e["run"]["facets"].get("parent")
        if parent:
            above = parent["run"]["runId"]
            assert above in begun and above not in over
            assert names[above] == parent["job"]["name"]
            assert parent["root"]["run"]["runId"] in begun
    for e in events:
        for d in e["inputs"] + e["outputs"]:
            assert d["namespace"] == e["job"]["namespace"]
            assert d["facets"]["version"]["datasetVersion"]
    return begun, over


def of(events, job, kind):
    found = [e for e in events if e["job"]["name"] == job and e["eventType"] == kind]
    assert len(found) == 1, (job, kind, len(found))
    return found[0]


def tags(event):
    return {t["key"]: t["value"] for t in event["run"]["facets"]["tags"]["tags"]}


def test_a_run_and_its_tasks_are_told_from_start_to_end(dugout, write):
    dugout.ok("run", write(tasks(), name="churn"), "--name", "one")
    events = export(dugout)
    assert events[0]["eventType"] == "START" and events[0]["job"]["name"] == "churn"
    assert events[-1]["eventType"] == "COMPLETE" and events[-1]["job"]["name"] == "churn"
    assert "sourceCode" in events[0]["job"]["facets"]
    assert len(events) == 2 * (1 + 4)

    load = of(events, "churn.load", "COMPLETE")
    (data,) = load["outputs"]
    assert data["name"] == "churn/load/data"
    assert data["facets"]["dugout_metadata"]["metadata"] == {"rows": 5000, "split": "a <b>"}
    assert data["facets"]["datasetType"]["datasetType"] == "FILE"
    stats = data["outputFacets"]["outputStatistics"]
    assert (stats["rowCount"], stats["size"], stats["fileCount"]) == (5000, 4, 1)

    train = of(events, "churn.train", "START")
    assert train["outputs"] == []
    (read,) = train["inputs"]
    assert read["name"] == data["name"] and read["facets"]["version"] == data["facets"]["version"]
    assert read["inputFacets"]["inputStatistics"]["rowCount"] == 5000

    outputs = {d["name"]: d for d in of(events, "churn.evaluate", "COMPLETE")["outputs"]}
    metrics = outputs["churn/evaluate/m"]["facets"]
    assert metrics["dugout_metrics"]["metrics"] == {"f1": 0.912345678, "accuracy": 0.93}
    model = of(events, "churn.train", "COMPLETE")["outputs"][0]["facets"]
    assert model["datasetType"] == {**model["datasetType"], "datasetType": "MODEL",
                                    "subType": "system.Model"}  # fmt: skip


def test_ids_follow_from_the_database(dugout, write):
    dugout.ok("run", write(tasks(), name="churn"))
    events = export(dugout)
    store = events[0]["job"]["namespace"][len("dugout://") :]
    ids = {e["run"]["runId"] for e in events if e["job"]["name"] != "churn"}
    assert ids == {str(uuid.uuid5(uuid.UUID(store), str(i))) for i in range(1, 5)}
    assert export(dugout) == events


def test_a_cache_hit_names_the_run_it_is_from(dugout, write):
    f = write(tasks(), name="churn")
    dugout.ok("run", f, "--name", "one")
    dugout.ok("run", f, "--name", "two")
    first, second = export(dugout, "--run", "one"), export(dugout, "--run", "two")
    hit, made = of(second, "churn.train", "COMPLETE"), of(first, "churn.train", "COMPLETE")
    assert tags(hit)["cached_from"] == made["run"]["runId"]
    assert hit["outputs"] == made["outputs"]
    assert "cached_from" not in tags(made)


def test_failures_say_why_and_what_never_began_says_nothing(dugout, write):
    f = write(tasks("exit 3"), name="churn")
    assert dugout("run", f).rc == 1
    events = export(dugout)
    assert of(events, "churn", "FAIL")
    fail = of(events, "churn.train", "FAIL")
    assert fail["run"]["facets"]["errorMessage"]["message"] == "exit code 3"
    assert not [e for e in events if e["job"]["name"] == "churn.evaluate"]


def test_a_stopped_run_is_aborted(dugout, write):
    run = dugout.start("run", write({"a": sh("sleep 600")}, name="slow"))
    wait_until(lambda: running(dugout))
    dugout.ok("cancel", "@latest")
    run.communicate(timeout=300)
    events = export(dugout)
    assert of(events, "slow", "ABORT") and of(events, "slow.a", "ABORT")


def test_what_came_from_outside_says_where_from(dugout, write, tmp_path):
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    f = write(
        {"use": {**sh("true"), "art_in": {"d": "given"}}},
        name="p",
        inputs={"artifacts": {"given": {"artifactType": {
            "schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}}},
    )  # fmt: skip
    dugout.ok("run", f, "--input", "given=%s" % (tmp_path / "data.csv"))
    (d,) = of(export(dugout), "p.use", "START")["inputs"]
    assert d["name"].startswith("outside/")
    (link,) = d["facets"]["symlinks"]["identifiers"]
    assert link["namespace"].startswith("file") and link["name"].endswith("data.csv")


LOOP = SHARED / "kfp-corpus/critical/parallel_for_after_dependency.yaml"


@pytest.mark.skipif(not LOOP.exists(), reason="no corpus: set DUGOUT_SHARED")
def test_iterations_of_a_loop_are_runs_of_one_job(python_home):
    python_home("image", "tag", "python:3.12-slim", "python:3.11")
    python_home.ok("run", LOOP, "--name", "loop-lines", "--no-cache")
    events = export(python_home, "--run", "loop-lines")
    inside = [e for e in events if e["job"]["name"].endswith(".for-loop-2/print-op")]
    assert len({e["run"]["runId"] for e in inside}) == 3 and len(inside) == 6
    (loop,) = {e["run"]["runId"] for e in events if e["job"]["name"].endswith(".for-loop-2")}
    assert {e["run"]["facets"]["parent"]["run"]["runId"] for e in inside} == {loop}


def test_a_file_is_whole_or_not_there(dugout, write, tmp_path):
    dugout.ok("run", write(tasks(), name="churn"))
    dugout.ok("export", "openlineage", tmp_path / "events.ndjson")
    lines = (tmp_path / "events.ndjson").read_text().splitlines()
    assert len(lines) == 10 and all(json.loads(line) for line in lines)
    assert dugout("export", "openlineage", tmp_path / "no" / "dir").rc == 6
    assert dugout("export", "openlineage", tmp_path / "x", "--run", "nobody").rc == 3
    assert not (tmp_path / "x").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["churn.json", "events.ndjson", "home"]


@pytest.mark.parametrize("command", [["export", "openlineage", "PIPE"], ["report", "@latest", "-o", "PIPE"],
                                     ["image", "export", "tiny", "PIPE"]])
def test_a_pipe_is_written_to_and_stays_one(dugout, write, tmp_path, command):
    """As /dev/stdout and /dev/null have to."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    dugout.ok("run", write({"t": sh("true")}))
    with open(tmp_path / "got", "wb") as got:
        reader = subprocess.Popen(["cat", pipe], stdout=got)
        try:
            dugout.ok(*[pipe if word == "PIPE" else word for word in command])
            assert pipe.is_fifo()
            assert reader.wait(300) == 0 and (tmp_path / "got").stat().st_size > 0
        finally:
            reader.kill()
            reader.wait()


def test_times_are_times(dugout, write):
    dugout.ok("run", write({"a": step("sleep 0.2")}, name="p"))
    events = export(dugout)
    at = [datetime.datetime.fromisoformat(e["eventTime"].replace("Z", "+00:00")) for e in events]
    assert at == sorted(at)
    took = [t for t, e in zip(at, events) if e["job"]["name"] == "p.a"]
    assert took[1] - took[0] >= datetime.timedelta(milliseconds=200)


def test_an_importer_says_where_its_data_came_from(dugout, kube, tmp_path):
    (tmp_path / "f.csv").write_text("one\n")
    dugout.ok("run", importing(kube, str(tmp_path / "f.csv")))
    events = export(dugout)
    imp = next(e for e in events if e["job"]["name"].endswith(".imp")
               and e["eventType"] == "COMPLETE")  # fmt: skip
    (made,) = imp["outputs"]
    (link,) = made["facets"]["symlinks"]["identifiers"]
    assert link["name"].endswith("/f.csv") and made["name"].endswith("/imp/artifact")
    use = next(e for e in events if e["job"]["name"].endswith(".use"))
    assert use["inputs"][0]["facets"]["version"] == made["facets"]["version"]
    assert use["inputs"][0]["name"] == made["name"]
