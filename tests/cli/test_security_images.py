# SPDX-License-Identifier: Apache-2.0
"""Hostile images: cases 17 to 23, 44 and 46 of the security list.

tests/mutants/images.txt lists the defences that are tested.
"""

import gzip
import json
import os
import random
import subprocess
import time

import pytest

from conftest import BIN, Dugout
from hostile import (
    BOMB_MIB, MEDIA, Oci, canary, dir_, docker, file_, header, link, measured, refused, sha, tar_of,
    write_tar,
)


@pytest.fixture
def d(dugout):
    dugout.bin = BIN
    return dugout


@pytest.fixture
def bare(tmp_path):
    d = Dugout(tmp_path / "bare")
    d.bin = BIN
    d.ok("images")
    return d


TREE = tar_of(dir_("etc"), file_("etc/motd", b"hello\n"))


# ---- 17: documents that do not end ---------------------------------------------------------------


@pytest.mark.parametrize("which", ["config", "manifest.json"])
def test_17_a_document_of_5_gib_is_refused(bare, tmp_path, which):
    path = tmp_path / "e.tar"
    name = "c.json" if which == "config" else "manifest.json"
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["e:1"], "Layers": []}]).encode()
    with open(path, "wb") as f:
        if which == "config":
            f.write(header("manifest.json", len(manifest)) + manifest.ljust(512, b" "))
        f.write(header(name, BOMB_MIB << 19))
        f.truncate(f.tell() + (BOMB_MIB << 19) + 1024)
    m = measured(bare, "image", "load", path)
    assert m.rc == 5 and "bytes" in m.err and m.rss_mib < 32, m


def test_17_an_index_of_5_gib_is_refused(bare, tmp_path):
    (tmp_path / "oci").mkdir()
    (tmp_path / "oci" / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    with open(tmp_path / "oci" / "index.json", "wb") as f:
        f.truncate(BOMB_MIB << 19)
    m = measured(bare, "image", "load", tmp_path / "oci")
    assert m.rc == 5 and m.rss_mib < 32, m


def test_17_a_compressed_archive_keeps_no_more_in_memory(bare, tmp_path):
    many = {"x%d.json" % i: b" " * (4 << 20) for i in range(80)}
    plain = write_tar(tmp_path / "p.tar", many)
    (tmp_path / "e.tar.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
    m = measured(bare, "image", "load", tmp_path / "e.tar.gz")
    assert m.rc == 5 and "small files" in m.err, m


@pytest.mark.parametrize("text", ["[" * 100000, '{"a":' * 100000, "[" * 100000 + "]" * 100000],
                         ids=["arrays", "objects", "closed"])
def test_17_json_100000_deep_is_refused(bare, tmp_path, text):
    for members in ({"manifest.json": text.encode()},
                    {"manifest.json": b'[{"Config":"c.json","RepoTags":null,"Layers":[]}]',
                     "c.json": text.encode()}):
        m = measured(bare, "image", "load", write_tar(tmp_path / "e.tar", members))
        assert m.rc in (4, 5) and m.rss_mib < 32, m


def test_17_a_good_config_with_something_deep_in_it_is_refused(bare, tmp_path):
    oci = Oci(tmp_path / "oci", [TREE])
    oci.config = oci.config[:-1] + b', "x": ' + b"[" * 1000 + b"]" * 1000 + b"}"
    oci.manifest["config"] = oci.descriptor("config", oci.config)
    assert "deep" in refused(bare, oci.write())


# ---- 18 to 21: descriptors ------------------------------------------------------------------------


@pytest.mark.parametrize("digest", [
    "sha256:../../x", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:" + "a" * 65, "sha256:",
    "md5:" + "a" * 32, "sha256:" + "a" * 60 + "/../", "../../../../etc/passwd", 7, None])
@pytest.mark.parametrize("where", ["index", "config", "layer"])
def test_18_a_digest_that_is_none_is_refused(bare, tmp_path, digest, where):
    oci = Oci(tmp_path / "oci", [TREE])
    (tmp_path / "x").write_text("outside")
    if where == "index":
        oci.index_entry = {"mediaType": MEDIA["manifest"], "digest": digest, "size": 7}
    elif where == "config":
        oci.manifest["config"]["digest"] = digest
    else:
        oci.manifest["layers"][0]["digest"] = digest
    assert "digest: " in refused(bare, oci.write())


def test_18_a_diff_id_that_is_none_is_refused(bare, tmp_path):
    for diff_id in ("sha256:../../x", "sha256:" + "A" * 64, "x"):
        oci = Oci(tmp_path / "oci", [TREE])
        oci.config = oci.config.replace(sha(TREE).encode(), diff_id[7:].encode())
        oci.manifest["config"] = oci.descriptor("config", oci.config)
        assert "diff_ids" in refused(bare, oci.write())


def test_19_a_document_that_is_two_things_is_refused(bare, tmp_path):
    oci = Oci(tmp_path / "oci", [TREE])
    oci.manifest["manifests"] = []
    assert "at once" in refused(bare, oci.write(), 4)


def test_19_a_document_of_another_type_is_refused(bare, tmp_path):
    oci = Oci(tmp_path / "oci", [TREE])
    oci.manifest["mediaType"] = MEDIA["index"]
    refused(bare, oci.write(), 4)
    oci = Oci(tmp_path / "oci2", [TREE])
    del oci.manifest["mediaType"]
    text = json.dumps(oci.manifest).encode()
    oci.index_entry = {"mediaType": MEDIA["index"], "digest": "sha256:" + sha(text),
                       "size": len(text)}
    refused(bare, oci.write(), 4)


def spoil_bytes(oci):
    blob = oci.path / "blobs" / "sha256" / sha(TREE)
    data = bytearray(blob.read_bytes())
    data[700] ^= 1
    blob.write_bytes(bytes(data))


def spoil_config(oci):
    blob = oci.path / "blobs" / "sha256" / sha(oci.config)
    blob.write_bytes(blob.read_bytes().replace(b"linux", b"linuy"))


def spoil_length(oci):
    blob = oci.path / "blobs" / "sha256" / sha(TREE)
    blob.write_bytes(blob.read_bytes()[:-512])


@pytest.mark.parametrize("spoil", [spoil_bytes, spoil_config, spoil_length])
def test_20_bytes_that_were_changed_are_refused(bare, tmp_path, spoil):
    oci = Oci(tmp_path / "oci", [TREE])
    oci.write()
    spoil(oci)
    refused(bare, oci.path, 4)


def test_20_a_blob_of_other_bytes_with_the_same_content_is_refused(bare, tmp_path):
    good = gzip.compress(TREE, 6, mtime=0)
    other = gzip.compress(TREE, 6, mtime=1)  # the same tar, hence the same diff_id
    assert len(good) == len(other) and good != other
    oci = Oci(tmp_path / "oci", [TREE])
    oci.manifest["layers"] = [{"mediaType": MEDIA["layer"] + "+gzip", "size": len(good),
                               "digest": "sha256:" + sha(good)}]
    oci.write()
    oci.blob(good).write_bytes(other)
    refused(bare, oci.path, 4)
    oci.blob(good)
    bare.ok("image", "load", oci.path)


@pytest.mark.parametrize("off", [-1, 1, 1 << 40])
def test_20_a_size_that_is_off_is_refused(bare, tmp_path, off):
    for part in ("config", "layer"):
        oci = Oci(tmp_path / ("oci" + part), [TREE])
        entry = oci.manifest["config"] if part == "config" else oci.manifest["layers"][0]
        entry["size"] += off
        refused(bare, oci.write())


def test_20_diff_ids_that_are_wrong_or_too_many_are_refused(bare, tmp_path):
    other = tar_of(file_("other"))
    oci = Oci(tmp_path / "oci", [TREE])
    oci.config = oci.config.replace(sha(TREE).encode(), sha(other).encode())
    oci.manifest["config"] = oci.descriptor("config", oci.config)
    assert "diff_id" in refused(bare, oci.write(), 4)
    oci = Oci(tmp_path / "oci2", [TREE])
    doc = json.loads(oci.config)
    doc["rootfs"]["diff_ids"].append("sha256:" + sha(other))
    oci.config = json.dumps(doc).encode()
    oci.manifest["config"] = oci.descriptor("config", oci.config)
    assert "2 diff_ids" in refused(bare, oci.write(), 4)


@pytest.mark.parametrize("size", [-1, -(1 << 63), 1 << 63, (1 << 64) - 1, 1e30, "7", None])
def test_21_a_size_that_is_none_is_refused(bare, tmp_path, size):
    for part in ("index", "config", "layer"):
        oci = Oci(tmp_path / ("oci" + part), [TREE])
        if part == "index":
            text = json.dumps(oci.manifest).encode()
            oci.index_entry = {"mediaType": MEDIA["manifest"], "digest": "sha256:" + sha(text),
                               "size": size}
        elif part == "config":
            oci.manifest["config"]["size"] = size
        else:
            oci.manifest["layers"][0]["size"] = size
        assert "size: " in refused(bare, oci.write())


# ---- 22, 23: users --------------------------------------------------------------------------------

PASSWD = b"root:x:0:0::/root:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n-1:x:0:0::/:/bin/sh\n" \
         b"99999999999:x:0:0::/:/bin/sh\n18446744073709551616:x:0:0::/:/bin/sh\n" \
         b"4294967295:x:0:0::/:/bin/sh\n"


@pytest.mark.parametrize("user", ["4294967296", "-1", "99999999999", "4294967295",
                                  "18446744073709551616", "1001:4294967296", "0x0", "+0", " 0"])
def test_22_a_number_that_does_not_fit_is_no_name(d, tiny_tar, tmp_path, user):
    d.ok("image", "load", docker(
        tmp_path / "e.tar", [tiny_tar.read_bytes(), tar_of(dir_("etc"), file_("etc/passwd", PASSWD))],
        User=user))
    r = d("box", "evil:1", "--", "id", "-u")
    assert r.rc == 125 and r.out == "", r


def with_passwd(d, tiny_tar, tmp_path, *entries):
    d.ok("image", "load", docker(tmp_path / "e.tar",
                                 [tiny_tar.read_bytes(), tar_of(dir_("etc"), *entries)],
                                 User="worker"))


def test_23_passwd_is_a_link_to_the_host(d, tiny_tar, tmp_path, canary):
    canary.file.chmod(0o644)
    canary.file.write_text("worker:x:0:0::/:/bin/sh\n")
    for target in (str(canary.file), "../../../../../../../.." + str(canary.file)):
        with_passwd(d, tiny_tar, tmp_path, link("etc/passwd", target))
        r = d("box", "evil:1", "--", "id", "-u")
        assert r.rc == 125 and "worker" in r.err, r
    # within the image it is followed
    with_passwd(d, tiny_tar, tmp_path, link("etc/passwd", "/lib/p"),
                file_("lib/p", b"worker:x:1234:5::/:/bin/sh\n"))
    assert d.ok("box", "evil:1", "--", "id", "-u").out == "1234\n"


def test_23_passwd_is_a_fifo_a_directory_or_huge(d, tiny_tar, tmp_path):
    fifo = file_("etc/passwd", b"")
    fifo[0].type = b"6"
    for entry in (fifo, dir_("etc/passwd"), file_("etc/passwd", b"a:x:1:1::/:/bin/sh\n" * 120000)):
        with_passwd(d, tiny_tar, tmp_path, entry)
        begun = time.monotonic()
        m = measured(d, "box", "evil:1", "--", "id")
        assert m.rc == 125 and "image's /etc/passwd" in m.err and m.rss_mib < 32, m
        assert "not in the image" not in m.err, m
        assert time.monotonic() - begun < 20


# ---- 44: names ------------------------------------------------------------------------------------

BAD_NAMES = ["a/b", "..", "a/../b", "a\nb", "-x", "x" * 4096, "", " ", "a b", "\x1b[2J"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_44_names_of_runs_are_held_to_a_pattern(d, write, name):
    f = write({"t": {"command": ["true"]}})
    r = d("run", f, "--name=" + name)
    assert r.rc == 2 and len(r.err.splitlines()) == 1 and "\x1b" not in r.err, r
    assert d.ok("runs", "--json").json == []


@pytest.mark.parametrize("name", BAD_NAMES)
def test_44_names_of_tasks_cannot_leave_the_run(d, tmp_path, name):
    from conftest import pipeline
    doc = json.loads(pipeline({"t": {"command": ["true"]}}))
    doc["root"]["dag"]["tasks"][name] = doc["root"]["dag"]["tasks"].pop("t")
    doc["root"]["dag"]["tasks"][name]["taskInfo"]["name"] = name
    (tmp_path / "p.json").write_text(json.dumps(doc))
    before = sorted(p.name for p in d.home.iterdir())
    r = d("run", tmp_path / "p.json")
    assert r.rc in (0, 2), r
    assert "\x1b" not in r.err
    assert set(p.name for p in d.home.iterdir()) <= {*before, "runs", "envs", "ballast",
                                                      "dugout.db-wal", "dugout.db-shm"}
    for run in (d.home / "runs").glob("*"):
        assert all(p.name[0].isalnum() and p.name.isascii() and " " not in p.name
                   for p in run.iterdir()), list(run.iterdir())


@pytest.mark.parametrize("name", [n for n in BAD_NAMES if n not in ("a/b",)])
def test_44_names_of_images_are_held_to_a_pattern(d, tmp_path, name):
    r = d("image", "load", docker(tmp_path / "e.tar", [TREE]), "--name=" + name)
    assert r.rc == 2 and "\x1b" not in r.err, r
    d.ok("image", "load", docker(tmp_path / "e.tar", [TREE], name=name))
    names = [n for i in d.ok("images", "--json").json for n in i["names"]]
    assert all("evil" in n or "tiny" in n for n in names) and not any(name in n for n in names if name)


# ---- 46: two at once, and killed -------------------------------------------------------------------


def look(root) -> dict:
    out = {}
    for dirpath, dirs, files in os.walk(root):
        for n in dirs + files:
            p = os.path.join(dirpath, n)
            st = os.lstat(p)
            out[os.path.relpath(p, root)] = (st.st_mode, st.st_size, st.st_mtime_ns)
    return out


def big_layer() -> bytes:
    rng = random.Random(46)
    return tar_of(*[file_("d%d/f%d" % (i % 20, i), rng.randbytes(4096)) for i in range(1500)])


def test_46_two_imports_of_one_layer_at_once(bare, tmp_path):
    data = big_layer()
    path = docker(tmp_path / "e.tar", [data])
    both = [bare.start("image", "load", path) for _ in range(2)]
    for p in both:
        out, err = p.communicate(timeout=300)
        assert p.returncode == 0, err
    assert len(bare.ok("images", "--json").json) == 1
    assert len(look(bare.home / "layers" / sha(data) / "fs")) == 1520
    assert not list((bare.home / "tmp").iterdir())


def half_way_through(d, archive: bytes):
    """Kill an import that has read half of its archive and waits for more."""
    p = d.start("image", "load", "-", stdin=subprocess.PIPE, text=False)
    p.stdin.write(archive[:len(archive) // 2])
    p.stdin.flush()
    p.kill()
    p.communicate()


def test_46_a_killed_import_leaves_no_half_layer(bare, tmp_path):
    data = big_layer()
    path = docker(tmp_path / "e.tar", [data], stored=[gzip.compress(data, 1)])
    whole = Dugout(tmp_path / "whole")
    begun = time.monotonic()
    whole.ok("image", "load", path)
    took = time.monotonic() - begun
    want = look(whole.home / "layers" / sha(data) / "fs")
    rng = random.Random(7)
    tries = int(os.environ.get("DUGOUT_TEST_KILLS") or 6)
    half_way_through(bare, path.read_bytes())
    assert not (bare.home / "layers" / sha(data)).exists()
    for i in range(tries):
        p = bare.start("image", "load", path)
        time.sleep(rng.random() * took * 1.1)
        p.kill()
        p.communicate()
        layer = bare.home / "layers" / sha(data)
        if not layer.exists():
            continue
        assert look(layer / "fs") == want
        bare.ok("image", "load", path)
        bare.ok("image", "rm", "evil:1")
        bare.ok("gc", "--grace", "0s")
        assert not layer.exists()
    bare.ok("image", "load", path)
    bare.ok("gc", "--grace", "0s")
    assert look(bare.home / "layers" / sha(data) / "fs") == want
    assert not list((bare.home / "tmp").iterdir())
