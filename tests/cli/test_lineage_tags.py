# SPDX-License-Identifier: Apache-2.0
"""Tags with reasons, export beside a run, revoking, files found by their content."""

import hashlib
import json
import os

import pytest

from conftest import ROOT, sh, wait_until

PATH_OF = "{{$.outputs.artifacts['%s'].path}}"
IN = "{{$.inputs.artifacts['%s'].path}}"


def chain(word="data"):
    """load -> train: a model that is its dataset and a line more"""
    return {
        "load": {**sh('echo %s >"$0"' % word, PATH_OF % "raw"),
                 "art_out": {"raw": "system.Dataset"}},
        "train": {**sh('cat "$0" >"$1"; echo model >>"$1"', IN % "data", PATH_OF % "model"),
                  "art_in": {"data": "load.raw"}, "art_out": {"model": "system.Model"}},
        "pick": {**sh('cp "$0" "$1"', IN % "candidate", PATH_OF % "best"),
                 "art_in": {"candidate": "train.model"}, "art_out": {"best": "system.Model"}},
    }


@pytest.fixture
def trained(dugout, write):
    dugout.ok("run", write(chain(), name="churn"))
    return dugout


def test_a_tag_remembers_who_moved_it_and_why(trained):
    d = trained
    d.ok("tag", "@latest/train:model", "churn:prod", "-m", "first one")
    r = d("tag", "@latest/pick:best", "churn:prod", "-m", "no")
    assert r.rc == 2 and "--move moves it" in r.err
    d.ok("tag", "@latest/pick:best", "churn:prod", "--move", "-m", "picked")
    log = d.ok("tag", "log", "churn:prod", "--json").json
    assert [(t["artifact"], t["reason"]) for t in log] == [(2, "first one"), (3, "picked")]
    assert d.ok("tags", "--json").json[0]["reason"] == "picked"
    day = log[-1]["set"][:10]  # the first may have been set before midnight
    assert d.ok("artifact", "show", "churn:prod@" + day, "--json").json["id"] == 3
    r = d("artifact", "show", "churn:prod@2001-01-01")
    assert r.rc == 3 and "pointed at nothing at that time" in r.err


def test_a_run_exports_its_model_with_its_provenance(dugout, write, tmp_path):
    out = tmp_path / "serving"
    out.mkdir()
    model = out / "model.bin"
    model.write_text("the old one")
    r = dugout.ok("run", write(chain(), name="churn"), "--export", "train:model=%s" % model,
                  "--tag", "train:model=churn:prod")
    assert model.read_text() == "data\nmodel\n"
    doc = json.loads((out / "model.bin.provenance.json").read_text())
    assert doc["artifact"]["digest"] == "sha256:" + hashlib.sha256(model.read_bytes()).hexdigest()
    assert "churn:prod" in doc["artifact"]["tags"]
    names = {n["name"] for n in doc["lineage"]["nodes"] if n["kind"] == "artifact"}
    assert names == {"model", "raw"}
    assert sorted(p.name for p in out.iterdir()) == ["model.bin", "model.bin.provenance.json"]
    assert "provenance.json" in r.err


def test_an_export_is_remembered_when_the_run_is_resumed(dugout, write, tmp_path, monkeypatch):
    out = tmp_path / "serving"
    out.mkdir()
    gate = tmp_path / "gate"
    gate.mkdir()
    tasks = chain()
    tasks["train"] = {**sh('test -e /gate/open || exit 1; cat "$0" >"$1"', IN % "data", PATH_OF % "model"),
                      "art_in": {"data": "load.raw"}, "art_out": {"model": "system.Model"}}
    f = write(tasks, name="churn")
    monkeypatch.chdir(tmp_path)
    r = dugout("run", f, "-v", "%s:/gate" % gate, "--export", "train:model=serving/model.bin")
    assert r.rc == 1 and list(out.iterdir()) == []
    (gate / "open").write_text("")
    monkeypatch.chdir("/")
    dugout.ok("resume", "@latest")
    assert (out / "model.bin").read_text() == "data\n"
    assert (out / "model.bin.provenance.json").exists()


def test_what_cannot_be_exported_is_said_before_the_run(dugout, write, tmp_path):
    f = write(chain(), name="churn")
    for value, says in (("train:model=/nowhere/at/all", "/nowhere/at/all"),
                        ("train:model", "TASK:OUTPUT=PATH"),
                        ("train:no=%s/x" % tmp_path, "no such output artifact"),
                        ("nobody:model=%s/x" % tmp_path, "no such task")):
        r = dugout("run", f, "--export", value)
        assert r.rc in (2, 6) and says in r.err, r
    assert dugout.ok("runs", "--json").json == []


def test_a_directory_is_exported_in_one_step(dugout, write, tmp_path):
    f = write({"make": {**sh('mkdir -p "$0/sub"; echo 1 >"$0/sub/a"; echo 2 >"$0/b"', PATH_OF % "dir"),
                        "art_out": {"dir": "system.Model"}}})
    dst = tmp_path / "deployed"
    for _ in range(2):
        dugout.ok("run", f, "--export", "make:dir=%s" % dst)
    assert (dst / "sub" / "a").read_text() == "1\n"
    r = dugout("artifact", "export", "@latest/make:dir", dst)
    assert r.rc == 2 and "exists" in r.err
    dugout.ok("artifact", "export", "@latest/make:dir", dst, "--force", "--provenance")
    assert dugout.ok("lineage", dst, "--json").json["start"] == ["a1"]
    (dst / "b").write_text("changed")
    r = dugout("lineage", dst)
    assert r.rc == 3 and "no recorded artifact" in r.err


def test_a_run_says_which_tag_it_moved_and_from_where(trained, write):
    d = trained
    f = write(chain(), name="churn")
    assert "churn:prod is a2\n" in d.ok("run", f, "--tag", "train:model=churn:prod").err
    r = d.ok("run", f, "--tag", "pick:best=churn:prod", "--tag", "load:raw=churn:data")
    assert "churn:prod moved from a2 to a3 (undo: dugout tag a2 churn:prod --move)" in r.err
    assert "churn:data is a1\n" in r.err


def test_a_tag_that_could_only_fail_is_refused_before_the_run(dugout, write, tmp_path):
    f = write(chain(), name="churn")
    for flag, what in (("--tag", "churn:prod"), ("--export", str(tmp_path / "model"))):
        r = dugout("run", f, flag, "train:model=" + what, flag, "pick:best=" + what)
        assert r.rc == 2 and "both train:model and pick:best would become %s" % what in r.err, r
    nightly = ROOT / "pipelines" / "nightly" / "nightly.yaml"
    r = dugout("run", nightly, "--tag", "exit-handler-1/for-loop-3/fit:model=m:prod")
    assert r.rc == 2 and "in a loop: name an iteration" in r.err, r
    assert dugout.ok("runs", "--json").json == []


def test_no_device_is_exported_over(trained, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    r = trained("artifact", "export", "a2", tmp_path / "pipe", "--force")
    assert r.rc == 2 and "device, pipe or socket" in r.err and (tmp_path / "pipe").is_fifo()


def test_an_export_never_takes_a_directory_away(dugout, write, tmp_path):
    """Who names the directory to write into, as for cp, keeps what is in it."""
    f = write(chain(), name="churn")
    models = tmp_path / "models"
    models.mkdir()
    (models / "precious").write_text("x")
    r = dugout("run", f, "--export", "train:model=%s" % models)
    assert r.rc == 2 and "name a file in it" in r.err and dugout.ok("runs", "--json").json == []
    dugout.ok("run", f)
    r = dugout("artifact", "export", "@latest/train:model", models, "--force")
    assert r.rc == 2 and "name a file in it" in r.err
    # made while the run went on, which had seen nothing there
    gate = tmp_path / "gate"
    gate.mkdir()
    tasks = chain("slow")
    tasks["load"] = {**sh('touch /gate/begun; until [ -e /gate/go ]; do sleep 0.05; done; echo 1 >"$0"',
                          PATH_OF % "raw"), "art_out": {"raw": "system.Dataset"}}
    late = tmp_path / "late"
    p = dugout.start("run", write(tasks, name="slow"), "-v", "%s:/gate:rw" % gate,
                     "--export", "train:model=%s" % late)
    wait_until(lambda: (gate / "begun").exists() or p.poll() is not None)
    late.mkdir()
    (late / "precious").write_text("x")
    (gate / "go").touch()
    _, err = p.communicate(timeout=300)
    assert p.returncode == 2 and "did not export" in err and "dugout artifact export" in err, err
    assert (models / "precious").exists() and (late / "precious").exists()
    assert sorted(x.name for x in tmp_path.iterdir() if "dugout-" in x.name) == []


def test_a_file_of_a_directory_leads_to_the_directory(dugout, write, tmp_path):
    """The weights of a model that was saved as a directory, deployed alone."""
    dugout.ok("run", write({
        "load": {**sh('echo 1 >"$0"', PATH_OF % "raw"), "art_out": {"raw": "system.Dataset"}},
        "fit": {**sh('mkdir -p "$1/sub"; cat "$0" "$0" >"$1/sub/weights"; : >"$1/empty"', IN % "data",
                     PATH_OF % "model"),
                "art_in": {"data": "load.raw"}, "art_out": {"model": "system.Model"}}}))
    weights = tmp_path / "weights.bin"
    weights.write_text("1\n1\n")
    r = dugout.ok("lineage", weights)
    assert r.out.startswith("a2 model") and "a1 raw" in r.out
    assert "%s is sub/weights in the directory a2 model" % weights in r.err
    assert dugout.ok("lineage", weights, "--json").json["start"] == ["a2"]
    (tmp_path / "sub").mkdir()
    weights.rename(tmp_path / "sub" / "weights")
    assert "is sub in the directory a2" in dugout.ok("artifact", "show", tmp_path / "sub").err
    # what changes something means what it names
    for command in (["tag", tmp_path / "sub" / "weights", "m:prod"], ["artifact", "rm", tmp_path / "sub"]):
        r = dugout(*command)
        assert r.rc == 3 and "as an artifact of their own" in r.err, r
    (tmp_path / "nothing").touch()
    r = dugout("lineage", tmp_path / "nothing")
    assert r.rc == 3 and "no directory in the store has them" in r.err, r


def test_removing_what_a_tagged_model_was_made_from_is_said(trained):
    trained.ok("tag", "a3", "churn:prod")
    r = trained.ok("artifact", "rm", "a1")
    assert "it is upstream of churn:prod (a3)" in r.err
    trained.ok("tag", "--delete", "churn:prod")
    assert "upstream" not in trained.ok("artifact", "rm", "a3").err


def test_a_directory_replaces_earlier_exports_only(dugout, write, tmp_path):
    dugout.ok("run", write({"make": {**sh('mkdir -p "$0"; echo 1 >"$0"/a', PATH_OF % "dir"),
                                     "art_out": {"dir": "system.Model"}}}))
    dst = tmp_path / "deployed"
    dst.mkdir()
    for _ in range(2):  # over an empty one, and over what it has put there itself
        dugout.ok("artifact", "export", "a1", dst, "--force")
    assert [p.name for p in dst.iterdir()] == ["a"]
    (dst / "notes").write_text("x")
    r = dugout("artifact", "export", "a1", dst, "--force")
    assert r.rc == 2 and "no recorded artifact" in r.err and (dst / "notes").exists(), r
    r = dugout("artifact", "export", "a1", dugout.home, "--force")
    assert r.rc == 2 and (dugout.home / "dugout.db").exists()


def test_a_deployed_file_is_found_by_its_content(trained, tmp_path):
    d = trained
    model = tmp_path / "renamed.joblib"
    d.ok("artifact", "export", "@latest/pick:best", model)
    before = d.ok("du").out
    r = d.ok("lineage", model)
    assert r.out.splitlines()[0].startswith("a2 model")
    assert "same bytes as a3 best of pick" in r.out
    assert "└─ data: a1 raw" in r.out
    assert d.ok("du").out == before  # looking stores nothing
    d.ok("tag", str(model), "churn:prod")
    assert d.ok("tags", "--json").json[0]["artifact"] == 2
    (tmp_path / "other").write_text("?")
    r = d("lineage", tmp_path / "other")
    assert r.rc == 3 and "no run made or read these bytes" in r.err
    assert "same bytes as a2 model" in d.ok("lineage", "a3").out


def test_imported_data_carries_what_was_set(dugout, tmp_path):
    f = tmp_path / "day.csv"
    f.write_text("1,2\n")
    dugout.ok("artifact", "import", f, "--type", "Dataset", "--name", "day", "--set", "rows=1",
              "--set", "lang=de", "--set", "checked=true")
    row = dugout.ok("query", "Dataset where rows = 1 and lang = de and checked = true", "--json").json
    assert [r["name"] for r in row] == ["day"]
    assert row[0]["metadata"] == {"rows": 1, "lang": "de", "checked": True}
    r = dugout("artifact", "import", f, "--set", "rows")
    assert r.rc == 2 and "KEY=VALUE" in r.err


def test_a_name_says_nothing_to_the_terminal(dugout, tmp_path):
    """It may have come from a task, or in an archive."""
    f = tmp_path / "day.csv"
    f.write_text("1,2\n")
    dugout.ok("artifact", "import", f, "--name", "a\x1b]0;owned\x07b\nc")
    for command in (["artifacts"], ["artifact", "show", "a1"], ["lineage", "a1"], ["query", "Dataset"]):
        out = dugout.ok(*command).out
        assert "a ]0;owned b c" in out and "\x1b" not in out, out
    assert dugout.ok("artifacts", "--json").json[0]["name"] == "a\x1b]0;owned\x07b\nc"


def test_what_is_left_out_of_a_directory_is_said(dugout, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("x")
    os.mkfifo(tmp_path / "d" / "pipe")
    assert "1 sockets, pipes or devices" in dugout.ok("artifact", "import", tmp_path / "d").err


def test_a_revoked_dataset_flags_all_that_came_of_it(trained, write):
    d = trained
    d.ok("tag", "@latest/pick:best", "churn:prod")
    r = d("artifact", "revoke", "@latest/load:raw")
    assert r.rc == 2 and "-m REASON" in r.err
    r = d.ok("artifact", "revoke", "@latest/load:raw", "-m", "wrong labels")
    assert "3 artifacts are flagged, 2 of them models; tagged: churn:prod (a3)" in r.err
    assert d.ok("artifacts").out.count("REVOKED (a1 raw: wrong labels)") == 3
    assert d.ok("artifact", "show", "churn:prod", "--json").json["revoked"]["reason"] == "wrong labels"
    assert "revoked     a1 raw: wrong labels" in d.ok("artifact", "show", "churn:prod").out
    assert "REVOKED" in d.ok("lineage", "churn:prod").out
    assert "is revoked (wrong labels)" in d.ok("tag", "a2", "churn:test").err
    r = d.ok("run", write(chain(), name="churn"))
    assert "cached result is not used, a1 raw is revoked: wrong labels" in r.err
    assert "reads a4 as data, and a1 raw is revoked" in r.err  # the same bytes again
    assert "cached" not in r.out
    d.ok("artifact", "revoke", "a1", "--undo")
    assert "REVOKED" not in d.ok("artifacts").out
    assert d.ok("sql", "select count(*) from revocations where lifted_at is not null").out.split()[-1] == "1"


def test_a_revoked_image_flags_what_it_made(trained):
    d = trained
    image = d.ok("images", "--json").json[0]["id"]
    d.ok("image", "revoke", "tiny", "-m", "CVE")
    assert d.ok("artifacts").out.count("REVOKED (image sha256:%s: CVE)" % image[:12]) == 3
    assert [r["id"] for r in d.ok("query", "Model where revoked", "--json").json] == [3, 2]
    d.ok("image", "rm", "tiny")
    d.ok("image", "revoke", "sha256:" + image[:16], "--undo")
    assert d.ok("query", "where revoked", "--json").json == []
