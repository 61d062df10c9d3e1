# SPDX-License-Identifier: Apache-2.0
"""What is wrong is said in one line, with the right exit status, and leaves nothing behind."""

import json
import os

import pytest

from conftest import sh


def listing(home) -> set:
    """Files of a home, but for the database's and the space it keeps in reserve."""
    return {
        str(p.relative_to(home))
        for p in home.rglob("*")
        if not p.name.startswith(("dugout.db", "db.wlock", "ballast"))
    }


def refused(dugout, code, *args, **kw):
    """Call it, want `code` and one line; gives the line."""
    before = listing(dugout.home)
    r = dugout(*args, **kw)
    assert r.rc == code, r
    lines = r.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("dugout: "), r
    assert r.out == ""
    assert listing(dugout.home) == before
    return lines[0]


@pytest.fixture
def file(tmp_path):
    def make(content, name="p.yaml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def test_a_file_that_is_not_there(dugout):
    assert "no/such.yaml" in refused(dugout, 3, "run", "no/such.yaml")


def test_a_directory(dugout, tmp_path):
    assert "is a directory" in refused(dugout, 2, "run", tmp_path)


@pytest.mark.parametrize("content", ["", "# only a comment\n", "a: [1, 2\n", "a: b: c\n",
                                     "\x89PNG\r\n", "just text\n"])
def test_what_is_no_pipeline(dugout, file, content):
    refused(dugout, 2, "run", file(content))


def test_bytes_that_are_not_utf8_are_named_by_position(dugout, file):
    assert "p.yaml:2:" in refused(dugout, 2, "run", file(b"a: b\nc: \xff\xfe\n"))


def test_a_hundred_megabytes_of_garbage(dugout, tmp_path):
    path = tmp_path / "big.yaml"
    with open(path, "wb") as f:
        for _ in range(100):
            f.write(os.urandom(1 << 20))
    refused(dugout, 5, "run", path)
    refused(dugout, 2, "image", "load", path)


def test_an_unknown_key_is_named_with_its_place(dugout, write):
    path = write({"t": sh("true")})
    doc = json.loads(path.read_text())
    doc["root"]["dag"]["tasks"]["t"]["cachingOption"] = {}
    path.write_text(json.dumps(doc, indent=1))
    line = refused(dugout, 2, "run", path)
    assert "cachingOption" in line and "p.json:" in line


def test_a_parameter_that_does_not_exist_gets_a_suggestion(dugout, write):
    path = write({"t": sh("true")}, inputs={"parameters": {
        "rows": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1, "isOptional": True}}})
    assert "rows" in refused(dugout, 2, "run", path, "-p", "row=3")
    assert "NUMBER_INTEGER" in refused(dugout, 2, "run", path, "-p", "rows=many")
    assert "NAME=VALUE" in refused(dugout, 2, "run", path, "-p", "rows")


def test_an_image_that_is_not_here(dugout, write):
    line = refused(dugout, 3, "run", write({"t": {**sh("true"), "image": "ghcr.io/a/b:1"}}))
    assert "ghcr.io/a/b:1" in line and "image load" in line


def test_packages_that_are_not_there_are_all_named(python_home, tmp_path):
    from conftest import ROOT

    text = (ROOT / "pipelines/churn-offline/churn_offline.yaml").read_text()
    path = tmp_path / "churn.yaml"
    path.write_text(text)
    r = python_home("run", path)
    assert r.rc == 3, r
    for name in ("scikit-learn", "pandas", "joblib"):
        assert name in r.err


@pytest.mark.parametrize("args, word", [
    (["rum"], '"run"'), (["run", "x", "--no-cash"], "--no-cache"), (["image"], "wants a command"),
    (["run"], "usage"), (["runs", "extra"], "too many"), (["run", "x", "--jobs"], "wants"),
    (["gc", "--grace", "soon"], "duration"), (["show", "nope"], "nope"),
    (["artifact", "show", "a99"], "a99"), (["image", "inspect", "nope"], "nope"),
    (["tag", "a1"], "usage"), (["box", "nope", "true"], "nope"),
    (["artifacts", "--where", "rows >"], "where"), (["completion", "fish"], "fish"),
])
def test_a_wrong_call_is_answered_by_what_was_meant(dugout, args, word):
    r = dugout(*args)
    assert r.rc in (2, 3, 125), r
    assert len(r.err.splitlines()) == 1 and word in r.err, r


def test_a_config_file_with_an_unknown_key(dugout):
    (dugout.home / "config.yaml").write_text("jobz: 3\n")
    line = refused(dugout, 2, "runs")
    assert "config.yaml:1:1" in line and "jobs" in line


def test_the_file_of_a_checkout_may_not_open_the_network(dugout, tmp_path, monkeypatch):
    (tmp_path / "dugout.yaml").write_text("network: host\n")
    monkeypatch.chdir(tmp_path)
    assert "cannot be set by a file of a checkout" in refused(dugout, 2, "runs")
