# SPDX-License-Identifier: Apache-2.0
"""KFP's own test data: what is only container tasks in a DAG ends as KFP's tests want it."""

import csv
import re

import pytest

from conftest import SHARED, rootfs

CORPUS = SHARED / "kfp-corpus"

# what required root parameters get, by their type
GIVEN = {"NUMBER_INTEGER": "3", "NUMBER_DOUBLE": "1.5", "STRING": "text", "BOOLEAN": "true",
         "LIST": '["a","b"]', "STRUCT": '{"A":1,"B":2}'}


def rows():
    if not (CORPUS / "index.tsv").exists():
        return []
    with open(CORPUS / "index.tsv") as f:
        return list(csv.DictReader(f, delimiter="\t"))


def parameters(row):
    for part in row["required_params"].split(";"):
        name, _, type_ = part.strip().partition(":")
        if type_:
            yield from ("-p", "%s=%s" % (name, GIVEN[type_]))


def only_the_sdk(row) -> bool:
    needs = [x for x in row["needs_pip"].split(";") if x.strip() not in ("", "-")]
    return all(re.match(r"\s*(kfp|typing-extensions)\b", x) for x in needs)


@pytest.mark.skipif(not rows(), reason="no corpus: set DUGOUT_SHARED to the folder that holds "
                                       "kfp-corpus")
def test_every_file_ends_as_expected_or_is_refused_by_name(python_home, capsys):
    wrong, table = [], []
    python_home.ok("image", "import", rootfs("jq-small"), "--name", "jetbrainsinfra/jq")
    for row in rows():
        path = CORPUS / row["file"]
        for image in row["images"].split():
            if not image.startswith(("-", "argostub/", "jetbrainsinfra/jq")):
                python_home("image", "tag", "python:3.12-slim", image.strip(",;"))
        args = ["run", path, *parameters(row), "--no-cache"]
        r = python_home(*args)
        state = {0: "SUCCEEDED", 1: "FAILED"}.get(r.rc, "REJECTED")
        line = r.err.splitlines()[-1][:90] if r.err else ""
        want = row["expected_state"]
        if state == want:
            table.append((row["file"], want, state if state != "REJECTED" else "REJECTED " + line))
            continue
        one_line = len(r.err.splitlines()) == 1 and r.err.startswith("dugout: ")
        if state == "REJECTED" and one_line and want != "REJECTED":
            table.append((row["file"], want, "refused: " + line))
            if row["offline"] == "yes" and only_the_sdk(row) and not refused_later(r.err):
                wrong.append((row["file"], r.err))
            continue
        table.append((row["file"], want, "WRONG %s: %s" % (state, line)))
        if row["offline"] == "yes":
            wrong.append((row["file"], r.err[-600:]))
    with capsys.disabled():
        print("\n%-58s %-10s %s" % ("FILE", "EXPECTED", "GOT"))
        for one in table:
            print("%-58s %-10s %s" % one)
    assert not wrong, wrong


def refused_later(text: str) -> bool:
    """Is this a refusal of something that is announced as not there yet?"""
    return re.search(r"condition|loop|exit|importer|one-of|Collected|collected|GPU|Kubernetes|"
                     r"platform|version does not|not run yet|cannot yet|yet", text) is not None


def test_outputs_of_the_corpus_are_what_kfp_gives(python_home):
    path = CORPUS / "critical" / "add_numbers.yaml"
    if not path.exists():
        pytest.skip("no corpus: set DUGOUT_SHARED to the folder that holds kfp-corpus")
    python_home("image", "tag", "python:3.12-slim", "python:3.11")
    r = python_home.ok("run", path, "-p", "a=2", "-p", "b=3")
    assert "Output: 5" in r.out
    assert "nothing new" in python_home.ok("run", path, "-p", "a=2", "-p", "b=3").err


# what KFP's own tests look for: parameters, outputs of the run, texts in the logs, outputs of tasks
WANT = [
    ("critical/add_numbers", ["a=2", "b=3"], {"Output": 5}, [], {}),
    ("critical/artifact_crust", [], None, ["foo"], {}),
    ("critical/component_with_optional_inputs", [], None, ["Hello", "World", "None"], {}),
    ("critical/mixed_parameters", [], None, ["3"], {}),
    ("critical/multiple_artifacts_namedtuple", [], None, ["foo", "bar"], {}),
    ("critical/multiple_parameters_namedtuple", [], None, ["foo", "bar"], {}),
    ("critical/parameters_simple", [], {"Output": [2, 4, 6]}, [],
     {"add": {"Output": 12}, "add-container": {"sum": 12}}),
    ("critical/pipeline_with_env", [], None, ["val0", "val2", "val3"], {}),
    ("critical/pipeline_with_retry", ["a=1", "b=7"], None, [], {"add": {"Output": 8}}),
    ("critical/producer_consumer_param_pipeline", [], None, ["Hello world"], {}),
    ("critical/two_step_pipeline_containerized", [], None, ["Hello KFP Containerized!"], {}),
    ("essential/component_with_env_variable", [], {"Output": "env_var_value"}, [], {}),
    ("essential/concat_message", ["message1=he", "message2=llo"], {"Output": "hello"}, [], {}),
    ("essential/pipeline_with_after", [], None, [], {}),
    ("essential/pipeline_with_params_containing_format", [], None,
     ["Hello KFP", "Hello KFP, again.", "1 and KFP.", "2 and KFP."], {}),
    ("essential/pipeline_with_reused_component", [], None, [],
     {"add-numbers": {"Output": 5}, "add-numbers-2": {"Output": 10},
      "add-numbers-3": {"Output": 17}}),
    ("essential/placeholder_with_if_placeholder_none_input_value", [], None,
     ["--arg0 input0 --arg2 default value"], {}),
]


@pytest.mark.skipif(not rows(), reason="no corpus: set DUGOUT_SHARED to the folder that holds "
                                       "kfp-corpus")
@pytest.mark.parametrize("name, params, outputs, texts, tasks", WANT, ids=[w[0] for w in WANT])
def test_a_pipeline_of_kfp_gives_what_kfp_gives(python_home, name, params, outputs, texts, tasks):
    (row,) = [r for r in rows() if r["file"] == name + ".yaml"]
    python_home.ok("image", "import", rootfs("jq-small"), "--name", "jetbrainsinfra/jq")
    for image in row["images"].split():
        if not image.startswith("jetbrainsinfra/jq"):
            python_home.ok("image", "tag", "python:3.12-slim", image.strip(",;"))
    given = [x for p in params for x in ("-p", p)] or list(parameters(row))
    run = python_home.ok("run", CORPUS / row["file"], "--no-cache", "--json", *given).json
    assert run["state"] == "SUCCEEDED"
    if outputs is not None:
        assert run["outputs"]["parameters"] == outputs
    logs = python_home.ok("logs", run["run_id"]).out
    for text in texts:
        assert text in logs
    by_path = {t["path"]: t for t in run["tasks"]}
    for path, values in tasks.items():
        assert by_path[path]["outputs"]["parameters"] == values


def test_the_output_of_a_run_may_be_an_artifact(python_home):
    path = CORPUS / "essential" / "pipeline_with_outputs.yaml"
    if not path.exists():
        pytest.skip("no corpus: set DUGOUT_SHARED to the folder that holds kfp-corpus")
    python_home("image", "tag", "python:3.12-slim", "python:3.11")
    run = python_home.ok("run", path, "--json", "--no-cache", "-p", "msg=world").json
    ((artifact,),) = run["outputs"]["artifacts"].values()
    assert python_home.ok("artifact", "cat", "a%d" % artifact["id"]).out == "world\n"
