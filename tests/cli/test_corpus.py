# SPDX-License-Identifier: Apache-2.0
"""KFP's own test data: what is only container tasks in a DAG ends as KFP's tests want it."""

import csv
import re

import pytest

from conftest import SHARED

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
    for row in rows():
        path = CORPUS / row["file"]
        for image in row["images"].split():
            if image != "-" and not image.startswith("argostub/"):
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
