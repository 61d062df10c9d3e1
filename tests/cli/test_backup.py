# SPDX-License-Identifier: Apache-2.0
"""Backups made beside running pipelines, and homes made from them."""

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

from conftest import Dugout, pipeline, sh
from test_house import art, blob, train


@pytest.fixture
def other(tmp_path):
    return Dugout(tmp_path / "other")


def lineage(d, what):
    """Artifacts, tasks and edges, without what a home adds."""
    doc = d.ok("lineage", what, "--json").json
    return doc


def test_a_restored_home_has_everything_and_works(dugout, other, write, tmp_path):
    f = write(train())
    dugout.ok("run", f)
    dugout.ok("tag", "@latest/fit:model", "m:prod")
    (dugout.home / "config.yaml").write_text("jobs: 3\n")
    first = dugout.ok("backup", tmp_path / "b", "--json").json
    assert first["copied"] > 0 and first["damage"] == 0
    again = dugout.ok("backup", tmp_path / "b", "--json").json
    assert again["copied"] == 0 and again["there"] == first["copied"]
    dugout.ok("run", write(train("more"), name="q"))
    assert dugout.ok("backup", tmp_path / "b", "--json").json["copied"] == 2  # data and model
    assert dugout.ok("restore", tmp_path / "b", "--check").rc == 0
    other.ok("restore", tmp_path / "b")
    assert lineage(other, "m:prod") == lineage(dugout, "m:prod")
    assert other.ok("fsck", "--full", "--json").json["damage"] == 0
    assert other.ok("artifact", "cat", "m:prod").out == "data\nmodel\n"
    assert (other.home / "config.yaml").read_text() == "jobs: 3\n"
    assert "nothing new" in other.ok("run", f).err
    other.ok("run", f, "--no-cache")  # its image was unpacked again
    shutil.rmtree(dugout.home)  # the backup needs the home no more
    assert other.ok("logs", "@latest/fit").rc == 0


def test_what_is_no_backup_or_no_empty_home_is_refused(dugout, other, write, tmp_path):
    dugout.ok("run", write(train()))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    r = dugout("backup", tmp_path / "full")
    assert r.rc == 2 and "neither empty nor a backup" in r.err
    dugout.ok("backup", tmp_path / "b")
    assert "has a database already" in dugout("restore", tmp_path / "b").err
    r = other("restore", tmp_path / "full")
    assert r.rc == 2 and "no backup" in r.err
    assert other("restore", tmp_path / "nowhere").rc == 3
    other.ok("artifact", "import", __file__)
    r = other("backup", tmp_path / "b")
    assert r.rc == 2 and "of another home" in r.err


def test_a_backup_can_be_asked_but_is_no_home(dugout, write, tmp_path):
    f = write(train())
    dugout.ok("run", f)
    dugout.ok("tag", "@latest/fit:model", "m:prod")
    dugout.ok("backup", tmp_path / "b")
    files = {p: p.read_bytes() for p in (tmp_path / "b").rglob("*") if p.is_file()}
    b = Dugout(tmp_path / "b")
    assert "load" in b.ok("lineage", "m:prod").out and len(b.ok("runs", "--json").json) == 1
    for command in (["gc", "--grace", "0s"], ["run", f], ["tag", "a1", "x"], ["artifact", "rm", "a1"],
                    ["resume", "--all"]):
        r = b(*command)
        assert r.rc == 2 and "is a backup and no home" in r.err, r
    assert {p: p.read_bytes() for p in (tmp_path / "b").rglob("*") if p.is_file()} == files


def test_a_backup_in_its_own_home_is_refused(dugout, write, tmp_path):
    """gc empties tmp/ and trash/, and what takes the home takes all of it."""
    (tmp_path / "link").symlink_to(dugout.home)
    for place in (dugout.home / "b", dugout.home / "tmp" / "b", dugout.home / "trash" / "not" / "yet",
                  tmp_path / "link" / "b", dugout.home / "tmp"):
        r = dugout("backup", place)
        assert r.rc == 2 and "lies in the home" in r.err, r
    assert not (dugout.home / "b").exists() and not list((dugout.home / "tmp").iterdir())
    dugout.ok("backup", tmp_path / "homely")  # a name that begins as the home's does


@pytest.fixture
def disk(tmp_path):
    """Mount a small file system of its own, at tmp_path/disk."""
    at = tmp_path / "disk"
    at.mkdir()

    def mount(kilobytes):
        subprocess.run(["umount", "-l", at], capture_output=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dk" % kilobytes, "none", at],
                          capture_output=True).returncode:
            pytest.skip("no tmpfs can be mounted here")
        return at

    yield mount
    subprocess.run(["umount", "-l", at], capture_output=True)


def test_an_empty_disk_is_a_place_for_a_backup(dugout, other, disk):
    """A mount point cannot be removed, and a new ext4 is not quite empty."""
    at = disk(40000)
    (at / "lost+found").mkdir()
    dugout.ok("backup", at)
    other.ok("restore", at)


def test_a_full_disk_is_named_and_the_next_try_goes_on(dugout, other, write, disk):
    dugout.ok("run", write({"t": {**sh('head -c 3000000 /dev/urandom >"$0"', art("x")),
                                  "art_out": {"x": "system.Dataset"}}}))
    for kilobytes in (100, 3000):  # no room for the database, none for content
        at = disk(kilobytes)
        r = dugout("backup", at / "b")
        assert r.rc == 6 and "%s is full" % (at / "b") in r.err and "backup again" in r.err, r
        assert "dugout gc" not in r.err
    subprocess.run(["mount", "-o", "remount,size=40000k", at], check=True)
    dugout.ok("backup", at / "b")
    at = at / "b"
    assert dugout.ok("restore", at, "--check").rc == 0
    shutil.copytree(at, other.home.parent / "b")
    home = Dugout(disk(3000) / "home")
    r = home("restore", other.home.parent / "b")
    assert r.rc == 6 and "is full" in r.err and "restore again" in r.err, r
    r = home("runs")
    assert r.rc == 4 and "restore that broke off, run it again" in r.err, r
    subprocess.run(["mount", "-o", "remount,size=80000k", home.home.parent], check=True)
    home.ok("restore", other.home.parent / "b")
    assert home.ok("fsck", "--full", "--json").json["damage"] == 0


def test_a_damaged_database_of_a_backup_is_found_first(dugout, other, write, tmp_path):
    dugout.ok("run", write(train()))
    dugout.ok("backup", tmp_path / "b")
    with open(tmp_path / "b" / "dugout.db", "r+b") as f:
        f.seek(5 * 4096)
        f.write(b"x" * 4096)
    r = other("restore", tmp_path / "b")
    assert r.rc == 4 and "cannot be used, take another" in r.err, r
    assert not list((other.home / "store" / "blobs" / "sha256").iterdir())
    assert dugout("restore", tmp_path / "b", "--check").rc == 4


def test_damage_is_named_on_the_way_out_and_on_the_way_back(dugout, other, write, tmp_path):
    dugout.ok("run", write(train()))
    dugout.ok("backup", tmp_path / "b")
    data = blob(dugout, "@latest/load:data").name
    spoiled = tmp_path / "b" / "store" / "blobs" / "sha256" / data
    spoiled.chmod(0o644)
    spoiled.write_text("atad\n")
    r = dugout("restore", tmp_path / "b", "--check")
    assert r.rc == 4 and data in r.err and "remove what is damaged" in r.err
    other_copy = tmp_path / "mended"
    shutil.copytree(tmp_path / "b", other_copy)
    (other_copy / "store" / "blobs" / "sha256" / data).unlink()
    dugout.ok("backup", other_copy)
    dugout.ok("restore", other_copy, "--check")
    r = other("restore", tmp_path / "b")
    assert r.rc == 4 and data in r.err
    r = other("fsck", "--json")
    assert r.rc == 4 and [x["name"] for x in r.json["findings"]] == [data]
    blob(dugout, "@latest/fit:model").unlink()
    r = dugout("backup", tmp_path / "c")
    assert r.rc == 4 and "damaged or missing" in r.out
    assert (tmp_path / "c" / "backup.json").exists()


def test_an_interrupted_backup_leaves_the_one_before(dugout, other, write, tmp_path):
    dugout.ok("run", write(train()))
    dugout.ok("tag", "@latest/fit:model", "m:prod")
    dugout.ok("backup", tmp_path / "b")
    for i in range(8):
        dugout.ok("run", write(train("text %d" % i)))
        p = dugout.start("backup", tmp_path / "b")
        time.sleep(0.002 * i)
        p.send_signal(signal.SIGKILL)
        p.communicate()
        home = Dugout(tmp_path / ("r%d" % i))
        home.ok("restore", tmp_path / "b")
        assert home.ok("fsck", "--full", "--json").json["damage"] == 0
        assert home.ok("artifact", "cat", "m:prod").out == "data\nmodel\n"
    dugout.ok("backup", tmp_path / "b")
    other.ok("restore", tmp_path / "b")
    assert len(other.ok("runs", "--json").json) == 9


def ended_tasks(backup):
    """Ids of the tasks that a backup has as done."""
    with contextlib.closing(sqlite3.connect(backup / "dugout.db")) as db:
        return [row[0] for row in db.execute("SELECT id FROM task WHERE state = 'SUCCEEDED'")]


def test_a_backup_taken_while_four_pipelines_run_restores_clean(dugout, other, tmp_path):
    """The tasks up to t5 race with the backups; t6 waits, so that no pipeline is over too soon."""
    f, gate = tmp_path / "p.json", tmp_path / "gate"
    gate.mkdir()
    tasks = {}
    for i in range(12):
        hold = "until [ -e /gate/open ]; do sleep 0.1; done; " if i == 6 else ""
        tasks["t%d" % i] = {
            **sh(hold + 'mkdir -p "$(dirname "$0")" "$1/d"; echo $RANDOM %d $$ $(date +%%N) >"$0";'
                 ' cp "$0" "$1/d/x"' % i, art("out"), art("dir")),
            "art_out": {"out": "system.Dataset", "dir": "system.Dataset"},
            **({"after": ["t%d" % (i - 1)]} if i else {}),
        }
    f.write_text(pipeline(tasks, name="four"))
    runs = [dugout.start("run", f, "--no-cache", "--jobs", "2", "--quiet", "-v", "%s:/gate" % gate)
            for _ in range(4)]
    try:
        taken, end = 0, time.monotonic() + 300
        while taken < 3 or not ended_tasks(tmp_path / "b"):
            assert time.monotonic() < end, "no task ended"
            dugout.ok("backup", tmp_path / "b")
            taken += 1
        assert [p.poll() for p in runs] == [None] * 4
    finally:
        (gate / "open").touch()
    assert [p.wait(300) for p in runs] == [0] * 4
    other.ok("restore", tmp_path / "b")
    doc = other.ok("fsck", "--full", "--json").json
    assert doc["damage"] == 0 and doc["database"] == "ok"
    with contextlib.closing(sqlite3.connect(tmp_path / "b" / "dugout.db")) as db:
        (some,) = db.execute("SELECT max(id) FROM artifact").fetchone()
    assert lineage(other, "a%d" % some) == lineage(dugout, "a%d" % some)
    found = other.ok("runs", "--json", "-n", "0").json
    assert {run["state"] for run in found} == {"INTERRUPTED"}
    for run in found:
        other.ok("resume", run["name"])
    assert {r["state"] for r in other.ok("runs", "--json").json} == {"SUCCEEDED"}
