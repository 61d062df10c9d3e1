# SPDX-License-Identifier: Apache-2.0
"""One image by every road: made by umoci, carried by skopeo and podman, packed by hand.

Whatever an archive looks like outside, the image has one identity, its layers are unpacked once,
and a pipeline that ran in it by one road is all cache hits by another.
"""

import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

import pytest

from conftest import BIN, Dugout, pipeline, sh


def tool(*argv, cwd=None):
    done = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def skopeo(source, target, *flags):
    tool("skopeo", "copy", "-q", "--insecure-policy", *flags, source, target)


class Image:
    """An OCI layout with one image of two layers, as bytes at hand."""

    def __init__(self, layout: pathlib.Path):
        self.layout = layout
        self.manifest = json.loads(self.blob(self.index["manifests"][0]["digest"]))
        self.config = self.blob(self.manifest["config"]["digest"])
        self.id = hashlib.sha256(self.config).hexdigest()
        self.tars = [gzip.decompress(self.blob(x["digest"])) for x in self.manifest["layers"]]

    @property
    def index(self):
        return json.loads((self.layout / "index.json").read_text())

    def blob(self, digest) -> bytes:
        return (self.layout / "blobs/sha256" / digest.split(":")[1]).read_bytes()


@pytest.fixture(scope="module")
def image(tmp_path_factory, tiny_tar):
    for program in ("umoci", "skopeo", "zstd"):
        if not shutil.which(program):
            pytest.skip("%s is not installed" % program)
    work = tmp_path_factory.mktemp("image")
    (work / "root").mkdir()
    tool("tar", "-xf", tiny_tar, "-C", work / "root", "--no-same-owner")
    (work / "new").write_text("x\n")
    tool("umoci", "init", "--layout", work / "u")
    tool("umoci", "new", "--image", str(work / "u") + ":t")
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    tool("umoci", "insert", *rootless, "--image", str(work / "u") + ":t", work / "root", "/")
    tool("umoci", "insert", *rootless, "--image", str(work / "u") + ":t", work / "new", "/etc/new")
    tool("umoci", "config", "--image", str(work / "u") + ":t", "--config.env", "MADE_BY=umoci",
         "--config.cmd", "cat", "--config.cmd", "/etc/new")
    # umoci ends the config with a line feed, which carriers that write it anew leave out
    skopeo("oci:%s:t" % (work / "u"), "docker-archive:%s:made:1" % (work / "d.tar"))
    skopeo("docker-archive:%s" % (work / "d.tar"), "oci:%s:made:1" % (work / "oci"))
    return Image(work / "oci")


@pytest.fixture(scope="module")
def home(tmp_path_factory, image):
    """A home that has the image by the first road, and a run in it."""
    work = tmp_path_factory.mktemp("home")
    d = Dugout(work / "home")
    d.ok("image", "load", image.layout)
    if d("box", "made:1", "--", "true").rc:
        pytest.skip("no box can be started here")
    d.pipeline = work / "p.json"
    d.pipeline.write_text(pipeline({"t": {**sh("cat /etc/new; echo $MADE_BY"), "image": "made:1"}}))
    d.ok("run", d.pipeline)
    assert d.ok("logs", "@latest/t").out == "x\numoci\n"
    return d


# ---- archives by hand ---------------------------------------------------------------------------


def pack(path, members, links=()):
    """A tar of (name, bytes) and (name, target of a symbolic link)."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


def classic(image, path):
    """docker save before version 25: a folder a layer, equal layers by a link, other files about."""
    names = ["%064x/layer.tar" % i for i in range(len(image.tars))]
    members = [("%064x/VERSION" % i, b"1.0") for i in range(len(names))]
    members += [("%064x/json" % i, b"{}") for i in range(len(names))]
    members += [(names[0], image.tars[0]), ("store/layer.tar", image.tars[1])]
    members += [(image.id + ".json", image.config), ("repositories", b'{"made":{"1":"x"}}')]
    manifest = [{"Config": image.id + ".json", "RepoTags": ["made:1"], "Layers": names}]
    members.append(("manifest.json", json.dumps(manifest).encode()))
    return pack(path, members, [(names[1], "../store/layer.tar")])


def modern(image, path):
    """docker save since version 25: an OCI layout with a manifest.json beside."""
    blobs = ["blobs/sha256/" + hashlib.sha256(t).hexdigest() for t in image.tars]
    config = "blobs/sha256/" + image.id
    oci = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": "sha256:" + image.id, "size": len(image.config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": "sha256:" + b[13:], "size": len(t)}
                   for b, t in zip(blobs, image.tars)]}).encode()
    digest = hashlib.sha256(oci).hexdigest()
    index = json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + digest,
        "size": len(oci), "annotations": {"io.containerd.image.name": "docker.io/library/made:1",
                                          "org.opencontainers.image.ref.name": "1"}}]}).encode()
    manifest = [{"Config": config, "RepoTags": ["made:1"], "Layers": blobs}]
    return pack(path, [*zip(blobs, image.tars), (config, image.config),
                       ("blobs/sha256/" + digest, oci), ("index.json", index),
                       ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
                       ("manifest.json", json.dumps(manifest).encode())])


def nested(image, path):
    """A layout whose index holds an index of platforms, as multi-platform builds have it."""
    shutil.copytree(image.layout, path)
    ours = image.index["manifests"][0]
    del ours["annotations"]
    other = {**ours, "platform": {"os": "linux", "architecture": "s390x"},
             "digest": "sha256:" + "0" * 64}
    proof = {**ours, "platform": {"os": "unknown", "architecture": "unknown"},
             "digest": "sha256:" + "1" * 64,
             "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    ours = {**ours, "platform": {"os": "linux", "architecture": arch}}
    inner = json.dumps({"schemaVersion": 2, "manifests": [other, proof, ours],
                        "mediaType": "application/vnd.oci.image.index.v1+json"}).encode()
    digest = hashlib.sha256(inner).hexdigest()
    (path / "blobs/sha256" / digest).write_bytes(inner)
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:" + digest,
        "size": len(inner), "annotations": {"org.opencontainers.image.ref.name": "made:1"}}]}))
    return path


def members_of_gzip(image, path):
    """A docker archive whose layers are gzip streams of several members."""
    def cut(data):
        return b"".join(gzip.compress(data[i:i + 300000], 1) for i in range(0, len(data), 300000))

    layers = ["a.tar.gz", "b.tar.gz"]
    manifest = [{"Config": "c.json", "RepoTags": ["made:1"], "Layers": layers}]
    return pack(path, [("manifest.json", json.dumps(manifest).encode()), ("c.json", image.config),
                       *zip(layers, map(cut, image.tars))])


def zipped(how, make):
    def wrapped(image, path):
        plain = make(image, path.with_suffix(".plain"))
        with open(path, "wb") as out:
            subprocess.run([how, "-c", "-q", plain], stdout=out, check=True)
        return path

    return wrapped


def tarred(image, path):
    tool("tar", "-cf", path, "-C", image.layout, ".")  # names begin with ./
    return path


def carried(target, *flags):
    def carry(image, path):
        kind, _, rest = target.partition(":")
        skopeo("oci:%s" % image.layout, "%s:%s%s" % (kind, path, rest and ":" + rest), *flags)
        return path

    return carry


def compressed(how):
    return ["--dest-compress", "--dest-compress-format", how]


ROADS = {
    "docker save, old": classic,
    "docker save, new": modern,
    "docker save, old, gzip": zipped("gzip", classic),
    "docker save, new, zstd": zipped("zstd", modern),
    "layers of several gzip members": members_of_gzip,
    "an index of platforms": nested,
    "an OCI layout in a tar of ./names": tarred,
    "an OCI layout in a tar, gzip": zipped("gzip", tarred),
    "skopeo to docker-archive": carried("docker-archive:made:1"),
    "skopeo to oci, gzip": carried("oci:made:1", *compressed("gzip")),
    "skopeo to oci, zstd": carried("oci:made:1", *compressed("zstd")),
    "skopeo to oci-archive, zstd": carried("oci-archive:made:1", *compressed("zstd")),
}


def same_image(d, image, said):
    """The load brought nothing new, and the run is all hits."""
    assert "2 layers (0 new)" in said
    assert {i["id"] for i in d.ok("images", "--json").json} == {image.id}
    assert "nothing new" in d.ok("run", d.pipeline).err


@pytest.mark.parametrize("road", ROADS)
def test_one_identity_by(road, image, home, tmp_path):
    path = ROADS[road](image, tmp_path / "archive")
    same_image(home, image, home.ok("image", "load", path).out)
    if path.is_file():
        with open(path, "rb") as f:
            done = subprocess.run([BIN, "image", "load", "-"], stdin=f, env=home.env(),
                                  capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        same_image(home, image, done.stdout)
    fresh = Dugout(tmp_path / "fresh")  # and it stands on its own
    fresh.ok("image", "load", path)
    assert fresh.ok("box", "made:1", "--", "cat", "/etc/new").out == "x\n"
    assert {i["id"] for i in fresh.ok("images", "--json").json} == {image.id}


@pytest.fixture
def podman():
    """The words that call podman with a store of its own."""
    if not shutil.which("podman") or os.geteuid() != 0:
        pytest.skip("podman is not installed, or this is not root")
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="p-") as d:  # it wants short names
        yield ["podman", "--root", d + "/p", "--runroot", d + "/r", "--storage-driver", "vfs"]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_one_identity_by_podman_save(form, image, home, podman, tmp_path):
    skopeo("oci:%s" % image.layout, "docker-archive:%s:made:1" % (tmp_path / "in.tar"))
    tool(*podman, "load", "-q", "-i", tmp_path / "in.tar")
    tool(*podman, "save", "-q", "--format", form, "-o", tmp_path / "out", "made:1")
    same_image(home, image, home.ok("image", "load", tmp_path / "out", "--name", "made:1").out)


@pytest.mark.parametrize("form", ["oci", "oci-dir", "docker"])
def test_what_is_exported_is_what_came_in_and_others_read_it(form, image, tmp_path):
    out, d = tmp_path / "out", Dugout(tmp_path / "home")
    d.ok("image", "load", image.layout)
    d.ok("image", "export", "made:1", out, "--format", form)
    kind = {"oci": "oci-archive", "oci-dir": "oci", "docker": "docker-archive"}[form]
    raw = subprocess.run(["skopeo", "inspect", "--config", "--raw", "%s:%s" % (kind, out)],
                         capture_output=True, check=True).stdout
    assert hashlib.sha256(raw).hexdigest() == image.id
    if form == "oci-dir":
        made = Image(out)
        assert made.index["manifests"][0]["digest"] == image.index["manifests"][0]["digest"]
        assert made.manifest == image.manifest


def test_podman_loads_what_is_exported(image, home, podman, tmp_path):
    home.ok("image", "export", "made:1", tmp_path / "out", "--format", "docker")
    tool(*podman, "load", "-q", "-i", tmp_path / "out")
    assert image.id in tool(*podman, "images", "--no-trunc", "-q")


# ---- archives that are wrong --------------------------------------------------------------------


def cut(keep):
    def damage(path):
        os.truncate(path, int(path.stat().st_size * keep))

    return damage


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def drop_blob(path):
    max((path / "blobs/sha256").iterdir(), key=lambda p: p.stat().st_size).unlink()


def spoil_blob(path):
    flip(max((path / "blobs/sha256").iterdir(), key=lambda p: p.stat().st_size))


def spoil_index(path):
    (path / "index.json").write_text("{")


def no_layout(path):
    (path / "oci-layout").unlink()
    (path / "index.json").unlink()


@pytest.mark.parametrize("road, damage, code", [
    ("docker save, old, gzip", cut(0.3), {4}), ("docker save, old, gzip", cut(0.999), {4}),
    ("docker save, new, zstd", cut(0.5), {4}), ("docker save, old, gzip", flip, {4}),
    ("docker save, old", cut(0.4), {3, 4}), ("docker save, old", flip, {4}),
    ("skopeo to oci-archive, zstd", cut(0.6), {3, 4}), ("skopeo to oci, gzip", spoil_blob, {4}),
    ("skopeo to oci, zstd", spoil_blob, {4}), ("skopeo to oci, zstd", drop_blob, {3}),
    ("an index of platforms", spoil_index, {4}), ("an index of platforms", no_layout, {2, 3, 4}),
])
def test_a_damaged_archive_is_one_line_and_leaves_nothing(road, damage, code, image, tmp_path):
    path = ROADS[road](image, tmp_path / "archive")
    damage(path)
    d = Dugout(tmp_path / "home")
    d.ok("images")
    before = set(d.home.rglob("*"))
    r = d("image", "load", path)
    assert r.rc in code, r
    assert len(r.err.splitlines()) == 1 and r.err.startswith("dugout: ") and r.out == "", r
    assert d.ok("images", "--json").json == []
    for p in set(d.home.rglob("*")) - before - set((d.home / "locks").iterdir()):
        # layers that were whole are kept for the next try, under their digest
        assert p.parent == d.home / "store/blobs/sha256", p
        assert hashlib.sha256(p.read_bytes()).hexdigest() == p.name
    d.ok("gc", "--grace", "0s")
    assert not list((d.home / "store/blobs/sha256").iterdir())
