# SPDX-License-Identifier: Apache-2.0
"""gc, fsck, du and the quota: what stays, what goes, what is damaged and what that touches."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import time

import pytest

from conftest import Dugout, sh, wait_until


def art(name):
    return "{{$.outputs.artifacts['%s'].path}}" % name


def inp(name):
    return "{{$.inputs.artifacts['%s'].path}}" % name


def train(text="data", name="train"):
    """data -> model, and a directory beside."""
    return {
        "load": {**sh('mkdir -p "$(dirname "$0")" "$1/sub"; echo %s >"$0"; echo one >"$1/a";'
                      ' echo two >"$1/sub/b"' % text, art("data"), art("files")),
                 "art_out": {"data": "system.Dataset", "files": "system.Dataset"}},
        "fit": {**sh('mkdir -p "$(dirname "$0")"; (cat "$1"; echo model) >"$0"', art("model"), inp("data")),
                "art_in": {"data": "load.data"}, "art_out": {"model": "system.Model"}},
    }


def age(home, days=3):
    """Everything of the home was written days ago."""
    then = time.time() - days * 86400
    for path in home.rglob("*"):
        if not path.is_symlink() and not path.name.startswith("dugout.db"):
            os.utime(path, (then, then))


NOTHING = ("--grace", "0s", "--keep-runs", "0", "--keep-days", "0")


def blob(d, what):
    hexa = d.ok("artifact", "show", what, "--json").json["digest"].split(":")[1]
    return d.home / "store" / "blobs" / "sha256" / hexa


def test_gc_says_by_reason_what_would_go_and_then_it_goes(dugout, write):
    dugout.ok("run", write(train("first")))
    dugout.ok("run", write(train("second")))
    dugout.ok("tag", "@latest/fit:model", "m:prod")
    (dugout.home / "extra").write_text("x")
    dugout.ok("artifact", "import", dugout.home / "extra")
    gone = dugout.ok("artifact", "import", __file__, "--json").json
    dugout.ok("artifact", "rm", "a%d" % gone["id"] if isinstance(gone["id"], int) else gone["id"])
    age(dugout.home)
    plan = dugout.ok("gc", "-n", *NOTHING, "--json").json
    assert plan["dry_run"] and plan["tombstones"] == 0
    assert plan["kept"]["tagged"]["count"] == 2  # the model and the data upstream of it
    assert plan["kept"]["imported"]["count"] == 1
    assert plan["kept"]["images"]["bytes"] > 0 and plan["kept"]["runs"]["count"] == 0
    going = plan["going"]
    # first's data and model; the directory is the same in both runs: one checkout, two tree objects
    assert going["retired"]["count"] == 2 + 3 and going["removed"]["count"] == 1
    assert going["nameless"]["count"] == 0 and going["attempts"]["count"] > 0
    done = dugout.ok("gc", *NOTHING, "--json").json
    assert done["going"] == going and done["tombstones"] == 2 + 2 + 1
    again = dugout.ok("gc", *NOTHING, "--json").json
    assert sum(x["bytes"] for x in again["going"].values()) == 0
    assert dugout.ok("artifact", "cat", "m:prod").out == "second\nmodel\n"
    assert dugout.ok("fsck", "--full", "--json").json["damage"] == 0
    assert len(dugout.ok("artifacts", "--all", "--json", "-n", "0").json) == 8  # the rows stay
    r = dugout.ok("run", write(train("first")))  # and what is gone is no cache hit
    assert "cached" not in r.err.replace("0 cached", "")


def test_gc_keeps_what_is_young_whatever_the_rules_say(dugout, write):
    dugout.ok("run", write(train()))
    n = dugout.ok("gc", "--keep-runs", "0", "--keep-days", "0", "--json").json
    assert n["tombstones"] == 0 and n["blobs"]["count"] == 0 and n["checkouts"]["count"] == 0
    age(dugout.home)
    n = dugout.ok("gc", "--keep-runs", "0", "--keep-days", "0", "--json").json
    assert n["tombstones"] == 3 and n["checkouts"]["count"] == 1


@pytest.mark.parametrize("keep", [("--keep-runs", "9223372036854775807", "--keep-days", "0"),
                                  ("--keep-runs", "0", "--keep-days", "200000000000"),
                                  ("--keep-runs", "0", "--keep-days", "9223372036854775807")])
def test_gc_that_is_to_keep_very_much_keeps_all(dugout, write, keep):
    dugout.ok("run", write(train()))
    age(dugout.home)
    assert dugout.ok("gc", "--grace", "0s", *keep, "--json").json["tombstones"] == 0


@pytest.mark.parametrize("what", ["first/fit:model", "first/load:files"])
def test_who_wants_what_is_gone_is_told_how_to_get_it(dugout, write, what):
    dugout.ok("run", write(train()), "--name", "first")
    age(dugout.home)
    dugout.ok("gc", *NOTHING)
    r = dugout("artifact", "export", what, dugout.home.parent / "out")
    assert r.rc == 3 and "is gone: dugout rerun first makes it again" in r.err, r
    dugout.ok("rerun", "first")
    dugout.ok("artifact", "export", what.replace("first", "@latest"), dugout.home.parent / "out")


def test_a_ceiling_of_bytes_lets_the_oldest_runs_go(dugout, write):
    for i in range(4):
        dugout.ok("run", write({"t": {**sh('(echo %d; head -c 1000000 /dev/zero) >"$0"' % i, art("x")),
                                      "art_out": {"x": "system.Dataset"}}}))
    age(dugout.home)
    n = dugout.ok("gc", "--grace", "0s", "--keep-bytes", "2500000", "--json").json
    assert n["tombstones"] == 2
    assert [dugout("artifact", "cat", "a%d" % i).rc for i in (1, 2, 3, 4)] == [3, 3, 0, 0]


def test_gc_spares_what_a_living_publisher_holds(dugout, write, tmp_path):
    """An engine that waits and what it found in the cache, with no grace at all."""
    dugout.ok("run", write(train(), name="p"))
    hold = {**train(), "wait": {**sh("touch /m/begun; while [ ! -e /m/go ]; do sleep 0.05; done"),
                                "after": ["fit"], "cache": False}}
    p = dugout.start("run", write(hold, name="q"), "--jobs", "1", "-v", "%s:/m:rw" % tmp_path)
    wait_until((tmp_path / "begun").exists)
    n = dugout.ok("gc", *NOTHING, "--json").json
    (tmp_path / "go").touch()
    assert p.wait(300) == 0
    assert dugout.ok("fsck", "--full", "--json").json["damage"] == 0
    assert n["going"]["nameless"]["count"] == 0


@pytest.mark.parametrize("how", ["gone", "empty", "without its WAL"])
def test_a_lost_database_is_said_and_takes_nothing_along(dugout, write, how):
    """A new one would name nothing, and gc take everything."""
    f = write(train())
    dugout.ok("run", f)
    dugout.ok("tag", "@latest/fit:model", "m:prod")
    age(dugout.home)
    kept = {p.name: p.read_bytes() for p in dugout.home.glob("dugout.db*")}
    for name in kept:
        (dugout.home / name).unlink()
    if how == "empty":
        (dugout.home / "dugout.db").touch()
    if how == "without its WAL":  # as it lies there until the first checkpoint
        with contextlib.closing(sqlite3.connect(dugout.home / "dugout.db")) as db:
            db.execute("PRAGMA journal_mode = WAL")
        assert (dugout.home / "dugout.db").stat().st_size == 4096
    for command in (["gc", *NOTHING], ["fsck"], ["runs"], ["run", f], ["artifact", "import", __file__],
                    ["backup", dugout.home.parent / "b"]):
        r = dugout(*command)
        assert r.rc == 4 and "dugout.db is gone or empty" in r.err and "restore DIR" in r.err, r
    for path in dugout.home.glob("dugout.db*"):
        path.unlink()
    for name, text in kept.items():
        (dugout.home / name).write_bytes(text)
    assert dugout.ok("artifact", "cat", "m:prod").out == "data\nmodel\n"
    assert dugout.ok("fsck", "--full", "--json").json["damage"] == 0


def test_fsck_names_the_models_that_damage_touches(dugout, write):
    dugout.ok("run", write(train()))
    dugout.ok("tag", "@latest/fit:model", "m:prod")
    assert dugout.ok("fsck").out.endswith("no damage\n")
    path = blob(dugout, "@latest/load:data")
    path.chmod(0o644)
    path.write_text("atad\n")
    path.chmod(0o444)
    assert dugout("fsck").rc == 0  # the size is right: only reading tells
    look = dugout("fsck", "--full", "--dry-run", "--json")
    assert look.rc == 4 and path.exists()
    r = dugout("fsck", "--full", "--json")
    assert r.rc == 4
    (f,) = r.json["findings"]
    assert f["what"] == "wrong bytes" and f["moved"] and not path.exists()
    assert [m["tags"] for m in f["models"]] == ["m:prod"]
    text = dugout("fsck")
    assert text.rc == 4 and "touches model" in text.out and "m:prod" in text.out
    dugout.ok("run", write(train()), "--no-cache")  # the same bytes are made again
    assert dugout.ok("fsck", "--full", "--json").json["damage"] == 0


@pytest.mark.parametrize("what", ["@latest/fit:model", "@latest/load:files"])
def test_damaged_bytes_are_never_handed_out(dugout, write, tmp_path, what):
    """The size is right, so nobody has noticed."""
    dugout.ok("run", write(train()))
    dugout.ok("tag", what, "m:prod")
    path = blob(dugout, what)
    if "files" in what:
        path = dugout.home / "checkouts" / path.name / "a"
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    for i, how in enumerate(([], ["--oci"], ["--provenance"])):
        r = dugout("artifact", "export", "m:prod", tmp_path / ("out%d" % i), *how)
        assert r.rc == 4 and "are damaged" in r.err and "dugout fsck --full" in r.err, r
    if "files" not in what:
        assert dugout("artifact", "cat", "m:prod").rc == 4
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("out") and "provenance" not in p.name] == []


@pytest.mark.parametrize("how", ["gone", "longer", "a link"])
def test_a_quick_fsck_looks_at_every_file_of_a_directory(dugout, write, how):
    dugout.ok("run", write(train()), "--name", "first")
    (checkout,) = (dugout.home / "checkouts").iterdir()
    path = checkout / "sub" / "b"
    path.chmod(0o644)
    if how == "longer":
        path.write_text("longer than it was\n")
    else:
        path.parent.chmod(0o755)
        path.unlink()
        if how == "a link":
            path.symlink_to("/etc/passwd")
    r = dugout("fsck", "--json")
    assert r.rc == 4 and [f["what"] for f in r.json["findings"]] == ["wrong directory"], r
    assert r.json["findings"][0]["moved"] and "sub/b" in r.json["findings"][0]["text"]
    assert "succeeded  load" in dugout.ok("rerun", "first").err
    assert dugout.ok("fsck", "--full", "--json").json["damage"] == 0


@pytest.mark.parametrize("how", ["gone", "changed", "changed below"])
def test_fsck_makes_a_tree_object_again_from_its_directory(dugout, write, how):
    """Without it nothing could be collected, and the directory itself is right."""
    dugout.ok("run", write(train()))
    (checkout,) = (dugout.home / "checkouts").iterdir()
    path = dugout.home / "store" / "blobs" / "sha256" / checkout.name
    if how == "changed below":
        sub = [w for w in path.read_bytes().split(b"\0") if w.startswith(b"d ")][0].split()[1]
        path = path.with_name(sub.decode())
    was = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(was.replace(b"f ", b"x "))  # of the same size
    path.chmod(0o444)
    if how == "gone":
        path.unlink()
    r = dugout("gc", *NOTHING[:2])
    assert r.rc in (3, 4) and "dugout fsck" in r.err, r
    r = dugout.ok("fsck", *(["--full"] if how == "changed below" else []))
    assert "made again" in r.out and "no damage" in r.out, r
    assert path.read_bytes() == was and checkout.exists()
    dugout.ok("gc", *NOTHING[:2])
    assert dugout.ok("fsck", "--full", "--json").json["findings"] == []


def test_what_fsck_advises_works(dugout, write):
    """Also after a quick look, which sees a wrong size."""
    dugout.ok("run", write(train()), "--name", "first")
    path = blob(dugout, "@latest/load:data")
    path.chmod(0o644)
    path.write_text("longer than it was\n")
    r = dugout("fsck")
    assert r.rc == 4 and "(moved to trash)" in r.out, r
    assert "dugout rerun first (its task load;" in r.out and "dugout artifact rm a1" in r.out
    r = dugout.ok("rerun", "first")
    assert "succeeded  load" in r.err and "cached     fit" in r.err, r
    assert dugout.ok("artifact", "cat", "first/load:data").out == "data\n"
    assert dugout.ok("fsck", "--full", "--json").json["damage"] == 0


def test_a_blob_that_a_power_cut_caught_is_no_damage(dugout, write):
    """It has its name and mode 0400 until its bytes are on the disk; no row speaks of it before."""
    dugout.ok("run", write(train()))
    blobs = dugout.home / "store" / "blobs" / "sha256"
    lost, there = blobs / ("ab" * 32), blobs / hashlib.sha256(b"in time").hexdigest()
    for path, text in ((lost, b"\0" * 90), (there, b"in time")):
        path.write_bytes(text)
        path.chmod(0o400)
    dugout.ok("fsck", "--dry-run")
    assert lost.exists() and there.stat().st_mode & 0o777 == 0o400
    r = dugout.ok("fsck")
    assert "unfinished" in r.out and "machine stopped" in r.out and "no damage" in r.out, r
    assert not lost.exists() and there.stat().st_mode & 0o777 == 0o444
    assert dugout.ok("fsck", "--full", "--json").json["findings"] == []


def test_fsck_finds_what_is_missing_changed_or_half_there(dugout, write):
    dugout.ok("run", write(train()))
    checkout = next((dugout.home / "checkouts").iterdir())
    a = checkout / "a"
    a.chmod(0o644)
    a.write_text("eno\n")
    r = dugout("fsck", "--full", "--json")
    assert r.rc == 4 and r.json["findings"][0]["what"] == "wrong directory" and not checkout.exists()
    assert dugout("fsck", "--json").json["findings"][0]["what"] == "missing"
    path = blob(dugout, "@latest/fit:model")
    path.unlink()
    what = [(f["what"], len(f["models"])) for f in dugout("fsck", "--json").json["findings"]]
    assert sorted(what) == [("missing", 0), ("missing", 1)]
    (layer,) = (dugout.home / "layers").glob("?" * 64)
    layer.rename(dugout.home / "away")
    assert "image" in [f["what"] for f in dugout("fsck", "--json").json["findings"]]


def test_an_image_is_mended_from_its_archive(dugout, tiny_tar):
    (layer,) = (dugout.home / "layers").glob("?" * 64)
    shutil.rmtree(layer)
    r = dugout("fsck")
    assert r.rc == 4 and "dugout image export docker.io/library/tiny:latest FILE.tar" in r.out, r
    tar = dugout.home.parent / "FILE.tar"
    dugout.ok("image", "export", "docker.io/library/tiny:latest", tar)
    dugout.ok("image", "load", tar)
    dugout.ok("box", "tiny", "true")
    assert dugout.ok("fsck", "--json").json["findings"] == []
    biggest = max((dugout.home / "store/blobs/sha256").iterdir(), key=lambda p: p.stat().st_size)
    biggest.unlink()  # the archive of the layer
    r = dugout.ok("fsck", "--json")
    assert [(f["what"], f["damage"]) for f in r.json["findings"]] == [("no archive", False)], r
    dugout.ok("image", "import", tiny_tar, "--name", "tiny")
    assert dugout.ok("fsck", "--json").json["findings"] == []


def test_a_sample_reads_the_longest_unread_first(dugout, write):
    for i in range(5):
        dugout.ok("run", write(train("text %d" % i)))
    n = len({a["digest"] for a in dugout.ok("artifacts", "--json", "-n", "0").json})
    seen = 0
    for _ in range(4):
        seen += dugout.ok("fsck", "--sample", "25", "--json").json["hashed"]
    assert seen >= n
    path = blob(dugout, "@latest/load:data")
    path.chmod(0o644)
    path.write_text("TEXT 4\n")
    path.chmod(0o444)
    assert 4 in [dugout("fsck", "--sample", "25").rc for _ in range(4)]
    assert dugout("fsck", "--sample", "101").rc == 2


def test_du_tells_who_takes_the_space(dugout, write):
    big = {"t": {**sh('head -c 3000000 /dev/zero >"$0"', art("x")), "art_out": {"x": "system.Dataset"}}}
    dugout.ok("run", write(big, name="big"))
    dugout.ok("run", write(train(), name="small"))
    rows = dugout.ok("du", "--by", "pipeline", "--json").json
    assert [(r["pipeline"], r["artifacts"]) for r in rows] == [("big", 1), ("small", 3)]
    assert rows[0]["bytes"] == 3000000
    runs = dugout.ok("du", "--by", "run", "--json").json
    assert runs[0]["bytes"] == 3000000 and all(r["directory_bytes"] > 0 for r in runs)
    (image,) = dugout.ok("du", "--by", "image", "--json").json
    assert image["bytes"] == image["own_bytes"] > 0
    assert dugout("du", "--by", "colour").rc == 2


@pytest.mark.parametrize("quota, rc, says", [
    ("{hard: 1Mi}", 5, "its quota is 1.0 MiB"),
    ("{soft: 1Mi}", 0, "over its soft quota"),
    ("{soft: 1Ti, hard: 2Ti}", 0, ""),
    ("{free: 1000Ti}", 5, "config wants"),
    ("{sort: 1Mi}", 2, "soft, hard, free and gc"),
    ("{soft: 1Mi, gc: perhaps}", 2, "true or false"),
])
def test_a_quota_warns_or_refuses_before_the_start(dugout, write, quota, rc, says):
    dugout.ok("run", write({"t": {**sh('head -c 3000000 /dev/zero >"$0"', art("x")),
                                  "art_out": {"x": "system.Dataset"}}}, name="big"))
    (dugout.home / "config.yaml").write_text("quota: %s\n" % quota)
    r = dugout("run", write({"t": sh("true")}, name="next"))
    assert r.rc == rc and says in r.err, r


def test_a_quota_holds_for_what_is_brought_in_by_hand(dugout, tiny_tar, tmp_path):
    f = tmp_path / "big"
    f.write_bytes(os.urandom(3000000))
    dugout.ok("artifact", "import", f)
    (dugout.home / "config.yaml").write_text("quota: {hard: 1Mi}\n")
    for command in (["artifact", "import", __file__], ["image", "import", tiny_tar, "--name", "other"]):
        r = dugout(*command)
        assert r.rc == 5 and "its quota is 1.0 MiB" in r.err, r
    dugout.ok("artifact", "rm", "a1")
    (dugout.home / "config.yaml").write_text("quota: {soft: 100Ki}\n")
    assert "over its soft quota" in dugout.ok("image", "import", tiny_tar, "--name", "other").err


def big(name):
    return {**sh('head -c 3000000 /dev/urandom >"$0"', art(name)), "art_out": {name: "system.Dataset"}}


def test_a_quota_is_looked_at_before_each_attempt(dugout, write):
    (dugout.home / "config.yaml").write_text("quota: {free: 2Mi, hard: 2Ti}\n")
    dugout.ok("run", write({"t": big("x")}))
    # the home is the whole of a small file system that the first task fills
    at = dugout.home.parent / "small"
    at.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", at], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        small = Dugout(at / "home")
        shutil.copytree(dugout.home, small.home, symlinks=True)
        (small.home / "ballast").unlink(missing_ok=True)
        free = shutil.disk_usage(at).free
        keep = free // 2
        (small.home / "config.yaml").write_text("quota: {free: %d}\n" % keep)
        fill = {**sh('head -c %d /dev/zero >"$0"' % (free - keep + (1 << 20)), art("x")),
                "art_out": {"x": "system.Dataset"}}
        r = small("run", write({"first": fill, "then": {**sh("true"), "after": ["first"]}}, name="fills"))
        assert r.rc == 1 and "config wants" in r.err, r
        assert small.states() == {"first": "SUCCEEDED", "then": "FAILED"}
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def test_gc_follows_a_run_that_ends_over_the_soft_quota(dugout, write):
    def blobs():
        return [p for p in (dugout.home / "store/blobs/sha256").iterdir() if p.stat().st_size == 3000000]

    (dugout.home / "config.yaml").write_text("quota: {soft: 100Ki, gc: true}\nretention: {runs: 1, days: 0}\n")
    dugout.ok("run", write({"t": big("x")}), "--no-cache")
    assert len(blobs()) == 1
    age(dugout.home)
    r = dugout.ok("run", write({"t": big("x")}), "--no-cache")
    assert "over the soft quota: gc freed 2.9 MiB" in r.err, r
    assert len(blobs()) == 1
    dugout.ok("artifact", "cat", "@latest/t:x")
    dugout.ok("fsck")
    (dugout.home / "config.yaml").write_text("quota: {soft: 100Ki}\nretention: {runs: 1, days: 0}\n")
    age(dugout.home)
    assert "gc freed" not in dugout.ok("run", write({"t": big("x")}), "--no-cache").err
    assert len(blobs()) == 2
