# SPDX-License-Identifier: Apache-2.0
"""Hostile layers: cases 1 to 16 of the security list (one test or more each).

Every import ends in an error of one line or in a harmless tree; a canary outside of the home keeps
content, mode, owner, times, links and attributes. tests/mutants/layers.txt lists the defences that are
tested; `make mutants` takes each away and wants its test to fail.
"""

import glob
import gzip
import io
import itertools
import os
import subprocess
import tarfile
import time

import pytest

from conftest import BIN, PATIENCE, Dugout
from hostile import (
    BOMB_MIB, canary, compile_probe, dev, dir_, docker, file_, hard, header, layer_dir, link,
    measured, opaque, refused, sha, sparse, tar_of, whiteout, zeros_gz, zeros_zst, zstd_frame,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="hostile layers are tried as root")


@pytest.fixture
def d(dugout):
    dugout.bin = BIN
    return dugout


@pytest.fixture
def load(d, tiny_tar, tmp_path):
    """Load layers on top of the tiny image as evil:1."""

    def load_(*layers, **config):
        path = docker(tmp_path / "evil.tar", [tiny_tar.read_bytes(), *layers], **config)
        return d.ok("image", "load", path)

    return load_


def box(d, *argv, **kw):
    return d("box", "evil:1", "--", *argv, **kw)


# ---- 1 to 6: ways out ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../canary", "a/../../x", "..", "a/..", "/../x"])
def test_01_a_name_with_dots_is_refused(d, canary, tmp_path, name):
    evil = tar_of(file_(name))
    assert '".."' in refused(d, docker(tmp_path / "e.tar", [evil]), 4)
    assert canary.same()


def test_01_an_absolute_name_lands_in_the_layer(load, d, canary):
    evil = tar_of(file_(str(canary.file), b"evil"))
    load(evil)
    assert (layer_dir(d, evil) / str(canary.file)[1:]).read_bytes() == b"evil"
    assert canary.same()


def test_02_a_file_behind_a_link_of_the_layer_lands_in_the_layer(load, d, canary):
    evil = tar_of(link("d", str(canary.path)), file_("d/x", b"1"), file_("d/canary", b"2"),
                  link("up", "../" * 40 + str(canary.path)[1:]), file_("up/y", b"3"))
    load(evil)
    assert canary.same()
    inside = layer_dir(d, evil) / str(canary.path)[1:]
    assert {p.name: p.read_bytes() for p in inside.iterdir()} == {
        "x": b"1", "canary": b"2", "y": b"3"}


def flat(d, *argv):
    """A box whose scratch lies on overlayfs, on which no other overlay can write."""
    tmp = d.home / "tmp"
    for name in ("o", "o/u", "o/w"):
        (d.home.parent / name).mkdir(exist_ok=True)
    script = ('mount -t overlay o -o lowerdir="$1",upperdir="$2/u",workdir="$2/w" "$1" && '
              'shift 2 && exec "$@"')
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", tmp, d.home.parent / "o", BIN, "box", "evil:1",
         "--", *argv], env=d.env(), capture_output=True, text=True)


@pytest.mark.parametrize("mode", ["overlay", "flat"])
def test_03_the_same_across_two_layers(load, d, canary, mode):
    load(tar_of(link("d", str(canary.path)), link("e", str(canary.path))),
         tar_of(file_("d/x", b"1"), dir_("e"), file_("e/y", b"2")))
    show = ["sh", "-c", 'cat "$0/x" /d/x /e/y; ls -ld /e | cut -c 1', str(canary.path)]
    r = box(d, *show) if mode == "overlay" else flat(d, *show)
    assert (r.rc if mode == "overlay" else r.returncode) == 0, r
    assert (r.out if mode == "overlay" else r.stdout) == "112d\n"
    assert canary.same()


@pytest.mark.parametrize("name", [".", "/.", "./", "/"])
def test_04_a_root_that_is_a_link_is_refused(d, canary, tmp_path, name):
    out = io.BytesIO()
    evil = tarfile.TarInfo("x")
    evil.type, evil.linkname = tarfile.SYMTYPE, str(canary.path)
    block = bytearray(evil.tobuf(tarfile.USTAR_FORMAT))
    block[0:2] = name.encode().ljust(2, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    out.write(block)
    out.write(tar_of(file_("x", b"evil")))
    assert "root must be a directory" in refused(d, docker(tmp_path / "e.tar", [out.getvalue()]), 4)
    assert canary.same()


def test_05_a_hard_link_never_leaves_the_layer(load, d, canary, tmp_path):
    for evil in (tar_of(hard("s", "/etc/shadow")), tar_of(hard("s", "../../x")),
                 tar_of(link("d", str(canary.path)), hard("s", "d/canary")),
                 tar_of(hard("s", str(canary.file)))):
        refused(d, docker(tmp_path / "e.tar", [evil]), 4)
        assert canary.same()
    good = tar_of(link("d", str(canary.path)), file_("d/canary", b"mine"), hard("s", "d/canary"))
    load(good)
    assert (layer_dir(d, good) / "s").read_bytes() == b"mine"
    assert canary.same()


@pytest.mark.parametrize("mode", ["overlay", "flat"])
def test_06_a_whiteout_behind_a_link_removes_nothing(load, d, canary, mode):
    same_layer = tar_of(link("d", str(canary.path)), whiteout("d/canary"), whiteout("d/new"),
                        opaque("d"), opaque("d/sub"))
    lower = tar_of(link("l", str(canary.path)), link("m", str(canary.path)))
    upper = tar_of(whiteout("l/canary"), dir_("m"), whiteout("m/canary"), opaque("m"))
    load(same_layer, lower, upper)
    r = box(d, "ls", "/m") if mode == "overlay" else flat(d, "ls", "/m")
    assert (r.rc if mode == "overlay" else r.returncode) == 0, r
    assert canary.same()


# ---- 7 to 9: whiteouts and marks -----------------------------------------------------------------


@pytest.mark.parametrize("entries, want", [
    ([opaque("d"), whiteout("d/x"), file_("d/x", b"new"), file_("d/s/new")],
     "/d\n/d/s\n/d/s/new\n/d/x\ns x\nnew"),
    # a whiteout in an opaque directory would be listed, and cannot be opened
    ([opaque("d"), whiteout("d/b"), whiteout("d/s/low"), file_("d/x", b"new")],
     "/d\n/d/s\n/d/x\ns x\nnew"),
])
def test_07_every_order_of_whiteouts_gives_one_tree(load, d, entries, want):
    low = tar_of(dir_("d"), file_("d/a"), file_("d/b"), dir_("d/s"), file_("d/s/low"), file_("d/x"))
    trees = set()
    for order in itertools.permutations(entries):
        load(low, tar_of(*order))
        # the shell's "*" is what readdir gives, find leaves out what cannot be looked at
        trees.add(box(d, "sh", "-c", "find /d | sort; cd /d; echo *; cat x").out)
    assert trees == {want}


def test_07_a_whiteout_and_a_directory_of_its_name_in_every_order(load, d):
    low = tar_of(dir_("d"), dir_("d/s"), file_("d/s/low"), file_("d/keep"))
    trees = set()
    for order in itertools.permutations([whiteout("d/s"), dir_("d/s"), file_("d/s/new"),
                                         whiteout("d/gone")]):
        load(low, tar_of(*order))
        trees.add(box(d, "sh", "-c", "find /d | sort").out)
    assert trees == {"/d\n/d/keep\n/d/s\n/d/s/new\n"}


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh..."])
def test_08_a_whiteout_of_nothing_is_refused(d, tmp_path, name):
    assert "whiteout" in refused(d, docker(tmp_path / "e.tar", [tar_of(file_(name, b""))]), 4)


FORGED = {"trusted.overlay.redirect": "/etc", "trusted.overlay.metacopy": "", "user.note": "kept",
          "trusted.overlay.opaque": "y", "user.overlay.opaque": "y", "user.overlay.redirect": "/etc",
          "user.overlay.whiteout": "y", "trusted.overlay.overlay.opaque": "y"}


def test_09_marks_of_overlayfs_are_not_taken_from_a_layer(load, d):
    low = tar_of(dir_("d"), file_("d/low", b"low"), file_("etc/secret", b"s"))
    evil = tar_of(dir_("d", xattrs=FORGED), file_("f", b"mine", xattrs=FORGED))
    load(low, evil)
    for name in ("d", "f"):
        assert os.listxattr(layer_dir(d, evil) / name) == ["user.note"]
    r = box(d, "sh", "-c", "ls /d; cat /f")
    assert r.out == "low\nmine", r


# ---- 10, 11: privileges and devices ---------------------------------------------------------------


def test_10_setuid_and_file_capabilities_give_nothing(load, d, tmp_path):
    # version 2, effective, all of the first 32
    caps = b"\x01\x00\x00\x02" + b"\xff\xff\xff\xff" + b"\0\0\0\0" + b"\xff\xff\xff\xff" + b"\0\0\0\0"
    probe = compile_probe(tmp_path).read_bytes()
    load(tar_of(
        file_("suid", probe, 0o6755),
        file_("capable", probe, 0o755,
              xattrs={"security.capability": caps.decode("utf-8", "surrogateescape")})))
    for program in ("/suid", "/capable"):
        out = d.ok("box", "--user", "1001:1001", "evil:1", "--", program, "id").out
        assert out.startswith("uid 1001 1001 1001 gid 1001 1001 1001 groups\n"), out
        for line in out.splitlines():
            assert not line.startswith("Cap") or line.endswith("\t0000000000000000"), out
        assert "NoNewPrivs:\t1" in out
    mounts = box(d, "cat", "/proc/self/mountinfo").out
    assert all("nosuid" in line for line in mounts.splitlines()), mounts


def test_11_devices_of_a_layer_are_not_made(load, d):
    evil = tar_of(dev("sda", tarfile.BLKTYPE, 8, 0), dev("mem", tarfile.CHRTYPE, 1, 1),
                  dev("null", tarfile.CHRTYPE, 1, 3), file_("after"))
    load(evil)
    assert [p.name for p in layer_dir(d, evil).iterdir()] == ["after"]
    r = box(d, "sh", "-c", "mknod /b b 8 0; mknod /c c 1 1; ls /sda /mem /b /c")
    assert r.rc != 0 and not r.out, r
    root = [line.split() for line in box(d, "cat", "/proc/self/mountinfo").out.splitlines()
            if line.split()[4] == "/"][0]
    assert "nodev" in root[5]


# ---- 12, 13: things done later --------------------------------------------------------------------


def test_12_a_link_over_a_directory_keeps_the_mode_of_its_target(load, d, canary):
    for name in ("a", "b"):
        evil = tar_of(dir_("t", 0o777), dir_("t/s", 0o777), link("t", str(canary.path)),
                      link("t/s", str(canary.path / "sub")), file_(name))
        load(evil)
        assert os.path.islink(layer_dir(d, evil) / "t")
        assert canary.same()
    # links carry a mode in the tar, too
    load(tar_of(link("p", str(canary.file), mode=0o4777)))
    assert canary.same()


def test_13_an_attribute_of_a_link_does_not_reach_its_target(load, d, canary):
    acl = b"\x02\0\0\0" + b"\x01\0\x07\0\xff\xff\xff\xff" + b"\x04\0\x07\0\xff\xff\xff\xff" \
        + b"\x20\0\x07\0\xff\xff\xff\xff"
    evil = tar_of(link("p", str(canary.file), xattrs={
        "system.posix_acl_access": acl.decode("utf-8", "surrogateescape"), "user.evil": "1"}))
    load(evil)
    assert canary.same()


# ---- 14 to 16: bombs --------------------------------------------------------------------------------


def used_kib(path) -> int:
    total = 0
    for root, dirs, files in os.walk(path):
        total += sum(os.lstat(os.path.join(root, n)).st_blocks for n in dirs + files)
    return total // 2


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_14_a_bomb_stops_at_the_limit(d, tmp_path, kind):
    bomb = zeros_gz(BOMB_MIB) if kind == "gzip" else zeros_zst(BOMB_MIB)
    assert len(bomb) < 12 << 20
    path = docker(tmp_path / "e.tar", [header("zeros", BOMB_MIB << 20)], stored=[bomb])
    before = used_kib(d.home)
    m = measured(d, "image", "load", path)
    assert m.rc == 5 and "1000 times its size" in m.err, m
    assert used_kib(d.home) <= before + 64
    assert m.rss_mib < 64


@pytest.mark.parametrize("size", [1 << 50, (1 << 63) - 1])
def test_14_a_sparse_file_counts_what_it_claims(d, tmp_path, size):
    m = measured(d, "image", "load", docker(tmp_path / "e.tar", [sparse("huge", size)]))
    assert m.rc in (4, 5) and len(m.err.splitlines()) == 1, m
    assert not list((d.home / "tmp").iterdir())


def test_14_a_sparse_file_holds_no_more_than_it_claims(d, tmp_path):
    evil = docker(tmp_path / "e.tar", [sparse("huge", 5, at=1 << 40)])
    assert "does not fit its size" in refused(d, evil, 4)


def test_14_sparse_files_add_up(d, tmp_path):
    piece = sparse("a", 40 << 30)[:-1024]  # less its end
    r = refused(d, docker(tmp_path / "e.tar", [piece + sparse("b", 40 << 30)]), 5)
    assert "MiB" in r


def test_15_too_many_attributes_are_refused(d, tmp_path):
    evil = tar_of(file_("f", xattrs={"user.n%d" % i: "x" for i in range(1000)}))
    assert "extended attributes" in refused(d, docker(tmp_path / "e.tar", [evil]), 5)


def test_15_pax_headers_without_end_are_bounded(d, tmp_path):
    fat = [file_("f%d" % i, b"", pax={"comment": "x" * (1 << 20)}) for i in range(40)]
    m = measured(d, "image", "load", docker(tmp_path / "e.tar", [tar_of(*fat)]))
    assert m.rc in (0, 4, 5) and m.rss_mib < 64, m
    huge = tar_of(file_("f", b"", pax={"path": "x" * (8 << 20)}))
    refused(d, docker(tmp_path / "e.tar", [huge]))


@pytest.mark.skipif(os.environ.get("DUGOUT_TEST_LONG") != "1",
                    reason="DUGOUT_TEST_LONG=1 unpacks two million entries")
def test_15_five_million_entries_stop_at_the_limit(d, tmp_path):
    one = header("e", 0)
    members = gzip.compress(b"".join(header("d/e%07d" % i, 0) for i in range(250000)))
    layer = header("d/", 0, b"5") + one
    path = docker(tmp_path / "e.tar", [layer], stored=[
        b"".join(gzip.compress(b"".join(header("d%d/e%07d" % (k, i), 0) for i in range(250000)))
                 for k in range(9))])
    del members
    m = measured(d, "image", "load", path)
    assert m.rc == 5 and "entries" in m.err and m.rss_mib < 64, m


def test_16_a_window_of_2_gib_is_refused(d, tmp_path):
    plain = tar_of(file_("f"))
    m = measured(d, "image", "load", docker(
        tmp_path / "e.tar", [plain], stored=[zstd_frame(31, [plain])]))
    assert m.rc == 4 and "zstd stream: Frame requires too much memory" in m.err, m
    assert m.rss_mib < 160
    d.ok("image", "load", docker(tmp_path / "g.tar", [plain], stored=[zstd_frame(27, [plain])]))


# ---- whoever unpacks is shut in ---------------------------------------------------------------------


def descendants(pid: int):
    for path in glob.glob("/proc/%d/task/*/children" % pid):
        try:
            kids = open(path).read().split()
        except OSError:
            continue
        for kid in map(int, kids):
            yield kid
            yield from descendants(kid)


def describe(pid: int) -> dict:
    status = dict(line.split(":\t", 1) for line in open("/proc/%d/status" % pid).read().splitlines()
                  if ":\t" in line)
    dirs = []
    for fd in glob.glob("/proc/%d/fd/*" % pid):
        if os.path.isdir(fd):
            dirs.append(os.readlink(fd))
    return {"seccomp": status["Seccomp"], "nnp": status["NoNewPrivs"], "dirs": sorted(dirs),
            "caps": int(status["CapEff"], 16), "root": os.readlink("/proc/%d/root" % pid),
            "net": os.readlink("/proc/%d/ns/net" % pid)}


def test_workers_are_confined_while_they_read(d, tmp_path):
    """Seen from outside: no new privileges, a filter, few capabilities, no directory outside."""
    many = tar_of(*[file_("d%d/f%d" % (i % 50, i), b"x" * 3000) for i in range(6000)])
    path = docker(tmp_path / "e.tar", [many], stored=[gzip.compress(many, 1)])
    writers, inflaters = [], []
    until = time.monotonic() + PATIENCE
    while not writers or not inflaters:  # a fast machine may be through before we look
        assert time.monotonic() < until
        home = Dugout(tmp_path / ("home-%d" % time.monotonic_ns()))
        p = home.start("image", "load", path, stdout=subprocess.DEVNULL, stderr=None)
        while p.poll() is None:
            for pid in list(descendants(p.pid)):
                try:
                    seen = describe(pid)
                except (OSError, KeyError):
                    continue
                if seen["seccomp"] == "2":
                    (writers if seen["net"] != os.readlink("/proc/self/ns/net") else
                     inflaters).append(seen)
        assert p.returncode == 0
    for seen in writers + inflaters:
        assert seen["nnp"] == "1"
        assert not seen["caps"] & ~0x8820001f  # no SETUID, SYS_PTRACE, NET_*, SYS_CHROOT ...
    for seen in writers:
        assert all(name.startswith("/0") or name == "/" for name in seen["dirs"]), (seen, "/tmp")
