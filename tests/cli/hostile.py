# SPDX-License-Identifier: Apache-2.0
"""Hostile input, made here: layers with anything in them, archives that lie, a watched canary.

A layer is a list of entries made by file_(), dir_(), link(), hard(), dev(), raw(); tar_of() makes
its bytes. docker() and Oci write archives of it. `probe` is a static program that tries in a box
what a shell cannot.
"""

import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile

import pytest

from conftest import wait_until

HERE = pathlib.Path(__file__).resolve().parent
# How much a bomb unpacks to, and twice what a document is long. Who takes a defence away has all of it.
BOMB_MIB = int(os.environ.get("DUGOUT_TEST_BOMB_MIB") or 10240)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---- tar entries ------------------------------------------------------------------------------


def _info(name, kind, mode, **more):
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, mode
    xattrs = more.pop("xattrs", None)
    pax = dict(more.pop("pax", {}))
    for key, value in (xattrs or {}).items():
        pax["SCHILY.xattr." + key] = value
    info.pax_headers = pax
    for key, value in more.items():
        setattr(info, key, value)
    return info


def file_(name, data=b"x", mode=0o644, **more):
    info = _info(name, tarfile.REGTYPE, mode, **more)
    info.size = len(data)
    return info, data


def dir_(name, mode=0o755, **more):
    return _info(name, tarfile.DIRTYPE, mode, **more), b""


def link(name, target, mode=0o777, **more):
    return _info(name, tarfile.SYMTYPE, mode, linkname=target, **more), b""


def hard(name, target, **more):
    return _info(name, tarfile.LNKTYPE, 0o644, linkname=target, **more), b""


def dev(name, kind, major, minor):
    info = _info(name, kind, 0o666)
    info.devmajor, info.devminor = major, minor
    return info, b""


def whiteout(path):
    head, _, tail = path.rpartition("/")
    return file_((head + "/" if head else "") + ".wh." + tail, b"")


def opaque(path):
    return file_(path + "/.wh..wh..opq", b"")



def tar_of(*entries) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT,
                      encoding="utf-8", errors="surrogateescape") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data) if data else None)
    return out.getvalue()


def header(name: str, size: int, typeflag=b"0") -> bytes:
    """One ustar header, for sizes that nobody wants to hold."""
    h = bytearray(512)
    h[0:len(name)] = name.encode()
    h[100:108] = b"0000644\0"
    h[108:116] = h[116:124] = b"0000000\0"
    if size < 1 << 33:
        h[124:136] = b"%011o\0" % size
    else:  # base-256
        h[124:136] = bytes([0x80]) + size.to_bytes(11, "big")
    h[136:148] = b"%011o\0" % 0
    h[148:156] = b" " * 8
    h[156:157] = typeflag
    h[257:265] = b"ustar\x0000"
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)


def sparse(name: str, real_size: int, at=0) -> bytes:
    """A file of real_size with one byte of data, as GNU tar writes it (pax, format 1.0)."""
    fields = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name,
              "GNU.sparse.realsize": str(real_size)}
    body = b""
    for key, value in fields.items():
        line = b" %s=%s\n" % (key.encode(), value.encode())
        n = len(line)
        while n != len(str(n)) + len(line):
            n = len(str(n)) + len(line)
        body += str(n).encode() + line
    table = b"2\n%d\n1\n%d\n0\n" % (at, real_size)
    data = table.ljust(512, b"\0") + b"x".ljust(512, b"\0")
    return (header("PaxHeaders/x", len(body), b"x") + body.ljust(-(-len(body) // 512) * 512, b"\0")
            + header("GNUSparseFile.0/x", 513) + data + b"\0" * 1024)


def zeros_gz(mib: int, name="zeros") -> bytes:
    """A layer with one file of zeros, gzip members of which each holds 64 MiB."""
    block = gzip.compress(bytes(64 << 20), 9)
    return gzip.compress(header(name, mib << 20)) + block * (mib // 64) + gzip.compress(bytes(1024))


def zstd_frame(window_log: int, blocks) -> bytes:
    """blocks: bytes (stored), or (byte, count) repeated; each at most 128 KiB."""
    out = b"\x28\xb5\x2f\xfd" + bytes([0x00, (window_log - 10) << 3])
    for i, block in enumerate(blocks):
        last = i == len(blocks) - 1
        if isinstance(block, tuple):
            byte, count = block
            out += struct.pack("<I", last | 1 << 1 | count << 3)[:3] + byte
        else:
            out += struct.pack("<I", last | len(block) << 3)[:3] + block
    return out


def zeros_zst(mib: int, name="zeros") -> bytes:
    zeros = (b"\0", 128 << 10)
    return zstd_frame(20, [header(name, mib << 20)] + [zeros] * (mib * 8) + [bytes(1024)])


# ---- archives ---------------------------------------------------------------------------------


def config_of(layers, diff_ids=None, **config) -> bytes:
    diff_ids = diff_ids or ["sha256:" + sha(x) for x in layers]
    return json.dumps({"architecture": os.uname().machine.replace("x86_64", "amd64")
                       .replace("aarch64", "arm64"), "os": "linux",
                       "config": {"Cmd": ["true"], **config},
                       "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


def write_tar(path, members: dict):
    with tarfile.open(path, "w") as tar:
        for key, data in members.items():
            info = tarfile.TarInfo(key)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def docker(path, layers, name="evil:1", stored=None, **config):
    """A docker archive; stored: the layers as they lie in it, when that is not as plain tars."""
    text = config_of(layers, **config)
    members = {sha(text) + ".json": text}
    names = ["%d/layer.tar" % i for i in range(len(layers))]
    members.update(zip(names, stored or layers))
    members["manifest.json"] = json.dumps(
        [{"Config": sha(text) + ".json", "RepoTags": [name], "Layers": names}]).encode()
    return write_tar(path, members)


MEDIA = {"index": "application/vnd.oci.image.index.v1+json",
         "manifest": "application/vnd.oci.image.manifest.v1+json",
         "config": "application/vnd.oci.image.config.v1+json",
         "layer": "application/vnd.oci.image.layer.v1.tar"}


class Oci:
    """An OCI layout directory, to be spoiled before or after write()."""

    def __init__(self, path: pathlib.Path, layers, **config):
        self.path, self.layers = path, layers
        self.config = config_of(layers, **config)
        self.manifest = {"schemaVersion": 2, "mediaType": MEDIA["manifest"],
                         "config": self.descriptor("config", self.config),
                         "layers": [self.descriptor("layer", x) for x in layers]}
        self.index_entry = None

    @staticmethod
    def descriptor(kind, data: bytes) -> dict:
        return {"mediaType": MEDIA[kind], "digest": "sha256:" + sha(data), "size": len(data)}

    def blob(self, data: bytes) -> pathlib.Path:
        blobs = self.path / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        (blobs / sha(data)).write_bytes(data)
        return blobs / sha(data)

    def write(self) -> pathlib.Path:
        for data in self.layers:
            self.blob(data)
        self.blob(self.config)
        manifest = json.dumps(self.manifest).encode()
        self.blob(manifest)
        entry = self.index_entry or self.descriptor("manifest", manifest)
        entry.setdefault("annotations", {"org.opencontainers.image.ref.name": "evil:1"})
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (self.path / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "mediaType": MEDIA["index"], "manifests": [entry]}))
        return self.path


# ---- the canary -------------------------------------------------------------------------------


class Canary:
    """A directory outside of every home, with a file in it, a link and attributes; same() says
    that nothing about it has changed: content, mode, owner, times, links, attributes, names."""

    def __init__(self, path: pathlib.Path):
        self.path, self.file = path, path / "canary"
        (path / "sub").mkdir(parents=True)
        self.file.write_text("sing\n")
        self.file.chmod(0o640)
        (path / "sub" / "deep").write_text("deep\n")
        (path / "pointer").symlink_to("canary")
        for name in (self.file, path):
            try:
                os.setxattr(name, "user.note", b"mine")
            except OSError:
                pass
        self.before = self.look()

    def look(self):
        out = {}
        for root, dirs, files in os.walk(self.path):
            for name in [root] + [os.path.join(root, n) for n in dirs + files]:
                st = os.lstat(name)
                text = b""
                if os.path.islink(name):
                    text = os.readlink(name)
                elif os.path.isfile(name):
                    text = pathlib.Path(name).read_bytes()
                attrs = {k: os.getxattr(name, k, follow_symlinks=False)
                         for k in os.listxattr(name, follow_symlinks=False)}
                out[name] = (st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_mtime_ns,
                             st.st_ctime_ns, st.st_size, text, attrs)
        return out

    def same(self) -> bool:
        return self.look() == self.before


@pytest.fixture
def canary():
    # not below tmp_path, which is 0700: a box as another user must fail for the right reason
    base = pathlib.Path(tempfile.mkdtemp(prefix="dugout-canary-"))
    base.chmod(0o755)
    yield Canary(base / "host")
    shutil.rmtree(base)


# ---- looking ----------------------------------------------------------------------------------


def layer_dir(d, data: bytes) -> pathlib.Path:
    """Where a layer lies unpacked."""
    return d.home / "layers" / sha(data) / "fs"


def refused(d, path, code=None, said="") -> str:
    """Load it and want a refusal of one line that leaves nothing; gives the line."""
    before = {p.name for p in (d.home / "layers").iterdir()}
    r = d("image", "load", path)
    assert r.rc in ((code,) if code else (2, 4, 5)), r
    assert len(r.err.splitlines()) == 1 and said in r.err, r
    assert {p.name for p in (d.home / "layers").iterdir()} == before
    wait_until(lambda: not list((d.home / "tmp").iterdir()))  # a box before may be tidied up
    return r.err


class Measured:
    def __init__(self, rc, err, seconds, rss_mib):
        self.rc, self.err, self.seconds, self.rss_mib = rc, err, seconds, rss_mib

    def __repr__(self):
        return "rc=%d %.1f s %d MiB %s" % (self.rc, self.seconds, self.rss_mib, self.err)


# A process starts with the peak of the one that it was forked from, so a small one measures.
MEASURE = """
import os, subprocess, sys, time
begun = time.monotonic()
p = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(p.pid, 0)
print(os.waitstatus_to_exitcode(status), time.monotonic() - begun, usage.ru_maxrss // 1024)
"""


def measured(d, *args) -> Measured:
    """Call it; the largest process among it and its children is measured too."""
    r = subprocess.run([sys.executable, "-I", "-S", "-c", MEASURE, d.bin, *map(str, args)],
                       env=d.env(), capture_output=True, text=True, errors="replace", timeout=600)
    rc, seconds, rss = r.stdout.split()
    return Measured(int(rc), r.stderr, float(seconds), int(rss))


# ---- the probe --------------------------------------------------------------------------------


def compile_probe(where: pathlib.Path) -> pathlib.Path:
    cc = shutil.which("gcc") or shutil.which("cc")
    if not cc:
        pytest.skip("no C compiler for the probe")
    out = where / "probe"
    done = subprocess.run([cc, "-O1", "-static", "-o", str(out), str(HERE / "probe.c"), "-pthread"],
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip("the probe cannot be linked statically here: " + done.stderr[-200:])
    return out


def as_user(uid, *argv, gid=None):
    return ["setpriv", "--reuid", str(uid), "--regid", str(gid or uid), "--clear-groups",
            "--inh-caps", "-all", *map(str, argv)]
