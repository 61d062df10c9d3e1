# SPDX-License-Identifier: Apache-2.0
"""Homes of older dugouts: they open, after a migration that keeps a copy."""

import os
import sqlite3
import subprocess

import pytest

from conftest import ROOT, Dugout

HOME_1 = ROOT / "tests" / "fixtures" / "home-1" / "home.tar.xz"


def version(path):
    with sqlite3.connect(path) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


@pytest.fixture
def old(tmp_path):
    """A home of the first schema, and the pipeline that ran in it."""
    if os.geteuid() != 0:
        pytest.skip("the fixture belongs to root")
    subprocess.run(["tar", "-C", tmp_path, "-xJf", HOME_1], check=True)
    return Dugout(tmp_path / "home")


def test_a_home_of_the_first_schema_opens_with_all_that_was_in_it(old):
    assert "schema version" in old.ok("migrate").err
    runs = old.ok("runs", "--json").json
    assert [r["state"] for r in runs] == ["SUCCEEDED", "SUCCEEDED"]
    assert old.ok("artifact", "cat", "first:prod").out == "weights 1"
    assert "load in" in old.ok("lineage", "first:prod").out
    assert old.ok("fsck", "--full", "--json").json["damage"] == 0
    r = old.ok("run", old.home.parent / "first.json")
    assert "nothing new" in r.err


def test_only_run_and_migrate_touch_an_older_database_and_a_copy_stays(old):
    db = old.home / "dugout.db"
    for command in (["runs"], ["gc"], ["tags"], ["du"], ["tag", "first:prod", "x"], ["resume", "--all"]):
        r = old(*command)
        assert r.rc == 2 and "dugout migrate" in r.err, r
    assert version(db) == 1
    done = old.ok("migrate", "--json").json
    assert done["from"] == 1 and done["to"] == version(db) > 1
    assert version(old.home / "dugout.db.v1") == 1
    assert "nothing to do" in old.ok("migrate").out


def test_run_migrates_by_itself(old):
    r = old.ok("run", old.home.parent / "first.json")
    assert "kept as" in r.err and "nothing new" in r.err


def test_nothing_is_migrated_while_something_of_the_home_runs(old):
    run = next((old.home / "runs").iterdir())
    with subprocess.Popen(["flock", "-o", run / "lock", "sleep", "60"]) as holder:
        while subprocess.run(["flock", "-n", run / "lock", "true"]).returncode == 0:
            pass
        for command in (["migrate"], ["run", old.home.parent / "first.json"]):
            r = old(*command)
            assert r.rc == 75 and "not migrated while 1 run" in r.err, r
        holder.kill()
    assert version(old.home / "dugout.db") == 1


def test_a_newer_database_names_who_made_it_and_the_copy(old):
    old.ok("migrate")
    with sqlite3.connect(old.home / "dugout.db") as db:
        latest = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute("UPDATE meta SET value = 'dugout 9.0' WHERE key = 'migrated_by'")
        db.execute("PRAGMA user_version = 99")
    for command in (["runs"], ["migrate"], ["gc"]):
        r = old(*command)
        assert r.rc == 2 and "dugout 9.0" in r.err and "dugout.db.v%d" % latest in r.err, r
