# SPDX-License-Identifier: Apache-2.0
"""query, leaders, what depends on what, sql: with the shipped binary on recorded runs."""

import csv
import io

import pytest

from conftest import SHARED, rootfs, sh, Dugout

PATH_OF = "{{$.outputs.artifacts['%s'].path}}"
IN = "{{$.inputs.artifacts['%s'].path}}"
META = ('d="$(dirname "{{$.outputs.output_metadata_uri}}")"')


def with_metadata(kind, name, facts):
    """A task that gives out one artifact with metadata, as a component without the SDK would."""
    doc = ('{"artifacts":{"%s":{"artifacts":[{"name":"%s","uri":"{{$.outputs.artifacts[\'%s\'].uri}}",'
           '"metadata":%s}]}}}' % (name, name, name, facts))
    return {
        **sh('echo %s >"$0"; mkdir -p "$(dirname "$1")"; printf %%s "$2" >"$1"' % name,
             PATH_OF % name, "{{$.outputs.output_file}}", doc),
        "art_out": {name: kind},
    }


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, template):
    """Two runs: data -> model -> metrics, with other numbers each time."""
    import shutil

    from conftest import pipeline

    home = tmp_path_factory.mktemp("query") / "home"
    shutil.copytree(template, home, symlinks=True)
    d = Dugout(home)
    f = tmp_path_factory.mktemp("pipelines") / "p.json"
    for rows, f1 in ((20000, 0.9), (500, 0.7)):
        model = with_metadata("system.Model", "model", '{"f1":%s}' % f1)
        metrics = with_metadata("system.Metrics", "metrics", '{"f1":%s}' % f1)
        f.write_text(pipeline({
            "load": with_metadata("system.Dataset", "raw", '{"rows":%d}' % rows),
            "train": {**model, "art_in": {"data": "load.raw"}, "inp": {"trees": "=%d" % (rows // 100)}},
            "measure": {**metrics, "art_in": {"model": "train.model"}},
        }, name="churn"))
        d.ok("run", f)
    return d


def ids(r):
    return [x["id"] for x in r.json]


def test_metadata_came_through(recorded):
    assert recorded.ok("query", "Dataset where has rows", "--json").json[0]["metadata"] == {"rows": 500}


def test_the_question_of_the_mission(recorded):
    d = recorded
    d.ok("tag", "a2", "churn:prod")
    assert ids(d.ok("query", "Model where upstream Dataset.rows > 10000 and tag = prod", "--json")) == [2]
    assert ids(d.ok("query", "Model where upstream Dataset.rows > 100", "--json")) == [5, 2]
    assert ids(d.ok("query", "Model", "where", "param.trees", "=", "'5'", "--json")) == [5]
    assert d.ok("query", "Model where tag = test").out.count("\n") == 1


@pytest.mark.parametrize("test", ["= tiny", "= tiny:latest", "= library/tiny", "= docker.io/library/tiny:latest",
                                  "~ 'tiny*'", "~ 'docker.io/*:latest'"])
def test_an_image_is_asked_for_by_any_of_its_names(recorded, test):
    assert len(ids(recorded.ok("query", "Model where image %s" % test, "--json"))) == 2
    assert ids(recorded.ok("query", "where image = ti_y or image = iny or image = tiny:other", "--json")) == []


def test_a_list_that_is_cut_says_so(recorded):
    """An answer about lineage that is not whole must not look as if it were."""
    for command in (["artifacts"], ["query", "where size > 0"], ["runs"]):
        n = len(recorded.ok(*command, "--json", "-n", "0").json)
        r = recorded.ok(*command, "--json", "-n", n - 1)
        assert len(r.json) == n - 1 and "these are %d, and there are more: -n 0" % (n - 1) in r.err, r
        r = recorded.ok(*command, "--json", "-n", n)
        assert len(r.json) == n and "there are more" not in r.err
    r = recorded.ok("query", "where size > 0 limit 1", "--json")  # as was asked
    assert len(r.json) == 1 and r.err == ""
    assert "nothing here has accuracy to sort by" in recorded.ok("artifacts", "--sort", "-accuracy").err


def test_a_mistake_in_a_query_is_shown_where_it_is(recorded):
    r = recorded("query", "Model where upstream Dataset.rows >> 10000")
    assert r.rc == 2 and "query, character 35: want one of = != < <= > >= ~ in, got >> 10000" in r.err
    r = recorded("query", "Modle")
    assert r.rc == 3 and "no artifact of type Modle; there are: " in r.err


def test_leaders_of_a_pipeline(recorded):
    r = recorded.ok("artifacts", "--type", "Metrics", "--sort", "-f1", "--pipeline", "churn", "--json")
    assert ids(r) == [3, 6]
    assert [x["task"] for x in r.json] == ["measure", "measure"]
    text = recorded.ok("artifacts", "--type", "Metrics", "--sort", "f1", "-n", "1").out.splitlines()
    assert text[0].split()[3] == "f1" and text[1].split()[:4] == ["a6", "Metrics", "metrics", "0.7"]
    assert ids(recorded.ok("artifacts", "--sort", "-f1", "--pipeline", "none", "--json")) == []


def test_what_depends_on_a_component_or_an_image(recorded):
    d = recorded
    assert [line.split()[0] for line in d.ok("lineage", "--component", "load", "--type", "Model")
            .out.splitlines()] == ["a2", "a5"]
    code = d.ok("artifact", "show", "a2", "--json").json["producer"]["code"]
    lines = d.ok("lineage", "--component", code, "--type", "Metrics").out.splitlines()
    assert [line.split()[0] for line in lines] == ["a3"]  # the second run trained with other code
    assert d.ok("lineage", "--component", "@latest/train", "--type", "Model").out.startswith("a5 ")
    doc = d.ok("lineage", "--image", "tiny", "--type", "Model", "--json").json
    assert sorted(n["id"] for n in doc["nodes"]) == ["a2", "a5"]
    r = d("lineage", "--component", "nobody")
    assert r.rc == 3 and "there are: comp-" in r.err
    assert d("lineage").rc == 2 and d("lineage", "a1", "--image", "tiny").rc == 2


def test_lineage_has_limits_both_ways(recorded):
    d = recorded
    assert "metrics" not in d.ok("lineage", "a1", "--down", "--depth", "1").out
    assert "metrics" in d.ok("lineage", "a1", "--down", "--depth", "2").out
    assert [n["id"] for n in d.ok("lineage", "a1", "--down", "--type", "Metrics", "--json").json["nodes"]] \
        == ["a1", "a3"]
    dot = d.ok("lineage", "a3", "--dot").out
    assert dot.startswith("digraph lineage {") and 'label="data"' in dot


def test_sql_reads_in_three_forms(recorded):
    d = recorded
    q = "select name, value from properties where name = 'rows' order by value"
    assert d.ok("sql", q).out.splitlines() == ["name  value", "rows  500", "rows  20000"]
    assert d.ok("sql", q, "--json").json == [{"name": "rows", "value": 500}, {"name": "rows", "value": 20000}]
    rows = list(csv.reader(io.StringIO(d.ok("sql", "select metadata, '\"a\",b' from artifacts limit 1",
                                            "--format", "csv").out)))
    assert rows[1] == ['{"rows":20000}', '"a",b']
    assert d.ok("sql", "select 1 where 0", "--json").json == []
    for view in d.ok("sql", "--json").json:
        first = view["columns"].split(", ")[0]
        d.ok("sql", 'select %s from "%s" limit 1' % (first, view["view"]))


@pytest.mark.parametrize("q, says", [
    ("delete from run", "this is DELETE"),
    ("update run set name = 'x'", "this is UPDATE"),
    ("insert into meta values ('a', 'b')", "this is INSERT"),
    ("drop table run", "only reading"),
    ("create table x (a)", "only reading"),
    ("create temp table x as select 1", "only reading"),
    ("attach '/tmp/never-made.db' as y", "this is ATTACH"),
    ("pragma journal_mode = delete", "this is PRAGMA journal_mode"),
    ("pragma query_only = 0", "this is PRAGMA query_only"),
    ("vacuum into '/tmp/never-made.db'", "only reading"),
    ("begin", "a transaction"),
    ("select 1; select 2", "one statement"),
    ("select nobody from runs", "no such column"),
    ("selekt", "syntax error"),
    ("", "no statement"),
])
def test_sql_can_do_nothing_but_read(recorded, q, says, tmp_path):
    r = recorded("sql", q)
    assert r.rc == 2 and says in r.err, r
    import os
    assert not os.path.exists("/tmp/never-made.db")


def test_sql_is_stopped_in_time(recorded):
    r = recorded("sql", "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c",
                 "--timeout", "200ms")
    assert r.rc == 5 and "took too long" in r.err


def test_the_model_that_pick_copied(tmp_path):
    """The nightly pipeline: which data trained the file that was deployed?"""
    nightly = SHARED / "pipelines" / "nightly" / "nightly.yaml"
    if not nightly.exists():
        pytest.skip("no %s" % nightly)
    tar = rootfs("python-slim-ml")
    d = Dugout(tmp_path / "home")
    d.ok("image", "import", tar, "--name", "python:3.12-slim")
    model = tmp_path / "model.joblib"
    d.ok("run", nightly, "--export", "exit-handler-1/pick:best=%s" % model, "-p", "rows=400")
    text = d.ok("lineage", model).out
    assert "same bytes as" in text.splitlines()[0] and " of exit-handler-1/pick in " in text
    doc = d.ok("lineage", model, "--type", "Dataset", "--json").json
    assert {n["name"] for n in doc["nodes"]} == {"model", "raw", "train_set", "test_set"}
    assert ids(d.ok("query", "Model where identical Model.task = fit and task = pick", "--json"))
