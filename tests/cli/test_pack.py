# SPDX-License-Identifier: Apache-2.0
"""Directories of many small files: packed by gc, used as if they were not."""

import subprocess

import pytest

from conftest import Dugout, sh, wait_until
from test_house import age, art, inp

KEEP = ("--grace", "0s", "--keep-runs", "9")
MAKE = ('mkdir -p "$0/sub"; i=0; while [ $i -lt 400 ]; do echo "file $i" >"$0/sub/$i"; i=$((i+1)); done;'
        ' head -c 2000000 /dev/zero >"$0/big"; ln -s sub/7 "$0/link"; echo "echo hi" >"$0/run"; chmod +x "$0/run"')
USE = 'mkdir -p "$(dirname "$0")"; cat "$1/sub/399" "$1/link" >"$0"; ls "$1/sub" | wc -l >>"$0"; "$1/run" >>"$0" || true; wc -c <"$1/big" >>"$0"'
WANT = "file 399\nfile 7\n400\n"


@pytest.fixture
def packed(dugout, write):
    """A home whose one directory artifact is in packs."""
    tasks = {
        "make": {**sh(MAKE, art("files")), "art_out": {"files": "system.Dataset"}},
        "use": {**sh(USE, art("seen"), inp("files")), "art_in": {"files": "make.files"},
                "art_out": {"seen": "system.Dataset"}},
    }
    dugout.file = write(tasks, name="packs")
    dugout.ok("run", dugout.file)
    age(dugout.home)
    plan = dugout.ok("gc", "-n", *KEEP, "--json").json["packed"]
    assert (plan["directories"], plan["packs"]) == (1, 0) and list((dugout.home / "checkouts").iterdir())
    assert "1 directories of many small files would be packed" in dugout.ok("gc", "-n", *KEEP).out
    doc = dugout.ok("gc", *KEEP, "--json").json
    assert doc["packed"]["directories"] == doc["packed"]["checkouts_removed"] == 1
    assert doc["packed"]["files"] == 401
    assert not list((dugout.home / "checkouts").iterdir())
    return dugout


def test_packed_files_are_used_as_if_they_were_not(packed, write, tmp_path):
    assert packed.ok("fsck", "--full", "--json").json["damage"] == 0
    assert "nothing new" in packed.ok("run", packed.file).err
    assert not list((packed.home / "checkouts").iterdir())  # a hit needs no checkout
    packed.ok("run", packed.file, "--refresh=use")  # a task that reads it does
    assert packed.ok("artifact", "cat", "@latest/use:seen").out.startswith(WANT)
    assert len(list((packed.home / "checkouts").iterdir())) == 1
    packed.ok("artifact", "export", "@latest/make:files", tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "5").read_text() == "file 5\n"
    assert packed.ok("fsck", "--full", "--json").json["damage"] == 0
    packed.ok("gc", *KEEP)  # used a moment ago, but there is no grace
    assert not list((packed.home / "checkouts").iterdir())


def test_gnu_tar_reads_a_pack(packed, tmp_path):
    (index,) = (packed.home / "store" / "packs").iterdir()
    pack = index.read_text().splitlines()[1].split()[0]
    (tmp_path / "x").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "x", "-xf", packed.home / "store/blobs/sha256" / pack], check=True)
    assert (tmp_path / "x" / "sub" / "123").read_text() == "file 123\n"


def test_a_task_that_reads_a_directory_keeps_it_from_being_packed(dugout, write, tmp_path):
    f = write({
        "make": {**sh(MAKE, art("files")), "art_out": {"files": "system.Dataset"}},
        "use": {**sh("touch /m/begun; while [ ! -e /m/go ]; do sleep 0.05; done;" + USE, art("seen"), inp("files")),
                "art_in": {"files": "make.files"}, "art_out": {"seen": "system.Dataset"}},
    })
    p = dugout.start("run", f, "-v", "%s:/m:rw" % tmp_path)
    wait_until(lambda: (tmp_path / "begun").exists() or p.poll() is not None)
    assert p.poll() is None
    age(dugout.home / "checkouts")
    assert dugout.ok("gc", *KEEP, "--json").json["packed"]["checkouts_removed"] == 0
    (tmp_path / "go").touch()
    assert p.wait(300) == 0
    assert dugout.ok("artifact", "cat", "@latest/use:seen").out.startswith(WANT)


def test_a_backup_takes_packs_along(packed, tmp_path):
    assert packed.ok("backup", tmp_path / "b", "--json").json["damage"] == 0
    assert packed.ok("restore", tmp_path / "b", "--check").rc == 0
    other = Dugout(tmp_path / "other")
    other.ok("restore", tmp_path / "b")
    assert other.ok("fsck", "--full", "--json").json["damage"] == 0
    other.ok("run", packed.file, "--refresh=use")
    assert other.ok("artifact", "cat", "@latest/use:seen").out.startswith(WANT)


def test_a_damaged_pack_is_found_and_never_used(packed):
    (index,) = (packed.home / "store" / "packs").iterdir()
    pack = packed.home / "store/blobs/sha256" / index.read_text().splitlines()[1].split()[0]
    pack.chmod(0o644)
    with open(pack, "r+b") as f:
        f.seek(513)
        f.write(b"spoiled")
    r = packed("run", packed.file, "--refresh=use")
    assert r.rc == 1 and "packed" in r.err, r
    r = packed("fsck", "--full", "--json")
    assert r.rc == 4 and index.name in [f["name"] for f in r.json["findings"] if f["artifacts"]], r
    packed.ok("run", packed.file, "--no-cache")  # made again
    packed.ok("fsck")


def test_packed_files_are_exported_in_every_form(packed, tmp_path):
    assert "(packed: " in packed.ok("artifact", "show", "@latest/make:files").out
    packed.ok("artifact", "export", "@latest/make:files", tmp_path / "oci", "--oci")
    packed.ok("artifact", "import", tmp_path / "oci", "--oci")
    was, now = (packed.ok("artifact", "show", a, "--json").json for a in ("@latest/make:files", "a3"))
    assert was["digest"] == now["digest"]


def test_what_is_not_kept_goes_with_its_packs(packed):
    age(packed.home)
    packed.ok("gc", "--grace", "0s", "--keep-runs", "0", "--keep-days", "0")
    assert not list((packed.home / "store" / "packs").iterdir())
    left = packed.ok("du", "--json").json
    assert left["checkouts"]["count"] == 0
    assert packed.ok("fsck", "--full", "--json").json["damage"] == 0
