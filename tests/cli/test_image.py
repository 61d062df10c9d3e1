# SPDX-License-Identifier: Apache-2.0
"""Images in and out: every kind of archive gives one identity, damaged ones give one line."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time

import pytest

from conftest import BIN, Dugout


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def layer(*entries) -> bytes:
    """A tar: (name, content or None for a directory, mode)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT,
                      encoding="utf-8", errors="surrogateescape") as tar:
        for name, content, mode in entries:
            info = tarfile.TarInfo(name)
            info.mode = mode
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def docker_archive(path, layers, name="made:1", edit=None):
    """A docker archive of plain layers."""
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(x) for x in layers]},
    }).encode()
    members = {digest(config) + ".json": config}
    names = []
    for i, data in enumerate(layers):
        names.append("%d/layer.tar" % i)
        members[names[-1]] = data
    members["manifest.json"] = json.dumps(
        [{"Config": digest(config) + ".json", "RepoTags": [name], "Layers": names}]).encode()
    if edit:
        edit(members)
    with tarfile.open(path, "w") as tar:
        for key, data in members.items():
            info = tarfile.TarInfo(key)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def bare(tmp_path):
    """A home without any image."""
    d = Dugout(tmp_path / "bare")
    d.ok("images")
    return d


@pytest.fixture
def busybox(tiny_tar):
    return tiny_tar.read_bytes()


def ids(d) -> set:
    return {i["id"] for i in d.ok("images", "--json").json}


def test_one_image_by_every_road_has_one_identity(bare, busybox, tmp_path):
    plain = docker_archive(tmp_path / "docker.tar", [busybox, layer(("etc/new", b"x", 0o644))])
    bare.ok("image", "load", plain)
    (one,) = ids(bare)
    bare.ok("image", "load", "--name", "zipped", _zip(plain, tmp_path))
    bare.ok("image", "export", "made:1", tmp_path / "oci.tar")
    bare.ok("image", "export", "made:1", tmp_path / "oci", "--format", "oci-dir")
    bare.ok("image", "export", "made:1", tmp_path / "again.tar", "--format", "docker")
    for road in ("oci.tar", "oci", "again.tar"):
        bare.ok("image", "load", tmp_path / road, "--name", "by:" + road.replace(".", "-"))
    with open(plain, "rb") as f:
        done = subprocess.run([BIN, "image", "load", "-", "--name", "by:stdin"], stdin=f,
                              env=bare.env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ids(bare) == {one}


def _zip(path, tmp_path):
    out = tmp_path / "docker.tar.gz"
    out.write_bytes(gzip.compress(path.read_bytes(), 1))
    return out


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_what_skopeo_writes_has_the_same_identity(bare, busybox, tmp_path, kind):
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    plain = docker_archive(tmp_path / "docker.tar", [busybox, layer(("etc/new", b"x", 0o644))])
    bare.ok("image", "load", plain)
    target = "oci:%s:t:1" % (tmp_path / kind)
    done = subprocess.run(
        ["skopeo", "copy", "--dest-compress-format", kind, "--insecure-policy",
         "docker-archive:%s" % plain, target], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("skopeo cannot write %s here: %s" % (kind, done.stderr[-100:]))
    before = ids(bare)
    bare.ok("image", "load", tmp_path / kind, "--name", "s:1")
    after = ids(bare)
    # skopeo rewrites the config for OCI, so only a kept config keeps the identity; the layers
    # are known in any case
    row = [i for i in bare.ok("images", "--json").json
           if "docker.io/library/s:1" in i["names"]][0]
    assert len(after) <= len(before) + 1
    assert bare.ok("box", "s:1", "--", "cat", "/etc/new").out == "x", row


def test_skopeo_reads_what_is_exported(bare, busybox, tmp_path):
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    bare.ok("image", "load", docker_archive(tmp_path / "d.tar", [busybox]))
    (one,) = ids(bare)
    bare.ok("image", "export", "made:1", tmp_path / "o.tar")
    done = subprocess.run(["skopeo", "inspect", "--config", "--raw",
                           "oci-archive:%s" % (tmp_path / "o.tar")], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert digest(done.stdout.rstrip(b"\n")) == one or digest(done.stdout) == one


def test_box_follows_a_name_that_moves_or_goes(bare, busybox, tmp_path):
    """Once box has kept the names beside a database that has settled, too."""
    long_ago = time.time() - 60
    for what in ("one", "two"):
        archive = docker_archive(tmp_path / ("%s.tar" % what),
                                 [busybox, layer(("word", what.encode(), 0o644))])
        bare.ok("image", "load", archive, "--name", what + ":1")
    bare.ok("image", "tag", "one:1", "mine:1")
    for name in ("dugout.db", "dugout.db-wal"):
        os.utime(bare.home / name, (long_ago, long_ago))
    for _ in range(2):
        assert bare.ok("box", "mine:1", "--", "cat", "/word").out == "one"
        assert "library/mine:1" in (bare.home / "dugout.db-names").read_text()
    bare.ok("image", "tag", "two:1", "mine:1")
    assert bare.ok("box", "mine:1", "--", "cat", "/word").out == "two"
    bare.ok("image", "rm", "mine:1")
    r = bare("box", "mine:1", "--", "cat", "/word")
    assert r.rc == 125 and "mine:1 is not here" in r.err


def test_a_layer_with_only_tmp_x_keeps_tmp_at_1777(bare, busybox, tmp_path):
    base = layer(("tmp", None, 0o1777), ("home", None, 0o700))
    bare.ok("image", "load", docker_archive(
        tmp_path / "d.tar", [busybox, base, layer(("tmp/x", b"1", 0o644))]))
    assert bare.ok("box", "made:1", "--", "stat", "-c", "%a", "/tmp").out == "1777\n"
    assert bare.ok("box", "made:1", "--", "cat", "/tmp/x").out == "1"


def test_whiteouts_hide_what_is_below(bare, busybox, tmp_path):
    low = layer(("d/a", b"a", 0o644), ("d/b", b"b", 0o644), ("o/c", b"c", 0o644))
    high = layer(("d/.wh.a", b"", 0o644), ("o/.wh..wh..opq", b"", 0o644), ("o/n", b"n", 0o644))
    bare.ok("image", "load", docker_archive(tmp_path / "d.tar", [busybox, low, high]))
    assert bare.ok("box", "made:1", "--", "ls", "/d", "/o").out.split() == [
        "/d:", "b", "/o:", "n"]


def test_names_of_raw_bytes_and_utf8_survive(bare, busybox, tmp_path):
    raw = b"n/\xff\xfe".decode("utf-8", "surrogateescape")
    names = layer((raw, b"1", 0o644), ("n/gr\u00fcn", b"2", 0o644))
    bare.ok("image", "load", docker_archive(tmp_path / "d.tar", [busybox, names]))
    r = bare.ok("box", "made:1", "--", "sh", "-c", "cd /n; printf '%s\\n' *")
    assert set(r.out.splitlines()) == {raw[2:], "gr\u00fcn"}


def test_junk_after_the_end_of_the_tar_is_part_of_the_digest(bare, busybox, tmp_path):
    junk = busybox + b"not zero" * 100
    bare.ok("image", "load", docker_archive(tmp_path / "good.tar", [junk], name="good:1"))

    def cut(members):
        members["0/layer.tar"] = members["0/layer.tar"][:-8]

    fresh = Dugout(tmp_path / "fresh")  # a layer that is known is not read again
    r = fresh("image", "load", docker_archive(tmp_path / "bad.tar", [junk], edit=cut))
    assert r.rc == 4, r


def broken(name):
    def flip(members):
        data = bytearray(members["1/layer.tar"])
        data[600] ^= 1
        members["1/layer.tar"] = bytes(data)

    def drop(members):
        del members["1/layer.tar"]

    def truncate(members):
        members["1/layer.tar"] = gzip.compress(members["1/layer.tar"])[:-20]

    return {"flip": flip, "drop": drop, "truncate": truncate}[name]


@pytest.mark.parametrize("how, code", [("flip", 4), ("drop", 3), ("truncate", 4)])
def test_a_damaged_archive_gives_one_line_and_leaves_nothing(bare, busybox, tmp_path, how, code):
    path = docker_archive(tmp_path / "d.tar", [busybox, layer(("e/n", b"x" * 3000, 0o644))],
                          edit=broken(how))
    r = bare("image", "load", path)
    assert r.rc == code, r
    assert len(r.err.splitlines()) == 1 and "layer" in r.err
    assert bare.ok("images", "--json").json == []
    assert not list((bare.home / "tmp").iterdir())


@pytest.mark.parametrize("evil", ["../escape", "a/../../escape", ".wh..", "/etc/../../x"])
def test_a_name_that_leads_out_is_refused(bare, busybox, tmp_path, evil):
    r = bare("image", "load", docker_archive(
        tmp_path / "d.tar", [busybox, layer((evil, b"x", 0o644))]))
    assert r.rc in (2, 4) and len(r.err.splitlines()) == 1, r
    assert not (tmp_path / "escape").exists()


def test_a_name_that_moves_says_from_where_and_how_to_undo(bare, busybox, tmp_path):
    bare.ok("image", "load", docker_archive(tmp_path / "a.tar", [busybox]))
    (first,) = ids(bare)
    r = bare.ok("image", "load", docker_archive(
        tmp_path / "b.tar", [busybox, layer(("etc/v2", b"2", 0o644))]))
    assert first[:12] in r.err and "undo" in r.err
    bare.ok("image", "tag", "sha256:" + first[:12], "made:1")
    assert bare.ok("image", "inspect", "made:1").json["id"] == first


def test_a_removed_image_is_gone_after_gc(bare, busybox, tmp_path):
    bare.ok("image", "load", docker_archive(tmp_path / "a.tar", [busybox]))
    bare.ok("image", "rm", "made:1")
    assert bare("box", "made:1", "--", "true").rc == 125
    bare.ok("gc", "--grace", "0s")
    assert not [p for p in (bare.home / "layers").iterdir() if p.is_dir()]


def test_a_box_keeps_its_layers_though_its_image_goes(bare, busybox, tmp_path):
    bare.ok("image", "load", docker_archive(
        tmp_path / "a.tar", [busybox, layer(("etc/later", b"still here\n", 0o644))]))
    box = bare.start("box", "-i", "made:1", "--", "sh", "-c", "echo up; read x; cat /etc/later",
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert box.stdout.readline() == "up\n"
    bare.ok("image", "rm", "made:1")
    bare.ok("gc", "--grace", "0s")
    out, _ = box.communicate("go\n", timeout=300)
    assert (box.returncode, out) == (0, "still here\n")
    bare.ok("gc", "--grace", "0s")
    assert not [p for p in (bare.home / "layers").iterdir() if p.is_dir()]
