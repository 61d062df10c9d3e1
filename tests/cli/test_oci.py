# SPDX-License-Identifier: Apache-2.0
"""Artifacts as OCI artifacts: out, through skopeo, and in again with equal digests."""

import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile

import pytest

from conftest import Dugout

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
MODEL = "application/vnd.cncf.model."


@pytest.fixture
def homes(tmp_path):
    """Two homes without images: what one writes the other reads."""
    return Dugout(tmp_path / "one"), Dugout(tmp_path / "two")


@pytest.fixture
def model(homes, tmp_path):
    """a1 of the first home: a model that is a file."""
    (tmp_path / "model.bin").write_bytes(os.urandom(300000))
    homes[0].ok("artifact", "import", tmp_path / "model.bin", "--type", "Model",
                "--metadata", "framework=torch", "--metadata", "acc=0.5")  # fmt: skip
    homes[0].ok("tag", "a1", "churn:prod")
    return tmp_path / "model.bin"


@pytest.fixture
def folder(tmp_path):
    d = tmp_path / "folder"
    (d / "sub" / "empty").mkdir(parents=True)
    (d / "weights.bin").write_bytes(os.urandom(70000))
    (d / "run.sh").write_text("#!/bin/sh\n")
    (d / "run.sh").chmod(0o755)
    (d / "zero").write_bytes(b"")
    (d / "sub" / "caf\u00e9 \U0001f6a3").write_text("unicode")
    (d / "sub" / ("long-" * 30 + "name")).write_text("long")
    (d / "link").symlink_to("weights.bin")
    (d / "sub" / "outward").symlink_to("../../etc/passwd")
    return d


def show(dugout, what):
    return dugout.ok("artifact", "show", what, "--json").json


def read(layout, digest):
    raw = (layout / "blobs" / "sha256" / digest.split(":")[1]).read_bytes()
    assert "sha256:" + hashlib.sha256(raw).hexdigest() == digest
    return raw


def manifest_of(layout):
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    raw = read(layout, entry["digest"])
    assert len(raw) == entry["size"] and entry["mediaType"] == MANIFEST
    return entry, json.loads(raw)


def put(layout, raw: bytes) -> dict:
    digest = hashlib.sha256(raw).hexdigest()
    path = layout / "blobs" / "sha256" / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return {"digest": "sha256:" + digest, "size": len(raw)}


def layout_of(path, manifests):
    """A layout as another tool would write it: [(ref, artifactType, [(media, bytes, notes)])]."""
    path.mkdir()
    entries = []
    for ref, kind, layers in manifests:
        doc = {
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": {"mediaType": EMPTY, **put(path, b"{}")},
            "layers": [{"mediaType": m, **put(path, raw), "annotations": notes}
                       for m, raw, notes in layers],
        }  # fmt: skip
        entries.append({"mediaType": MANIFEST, **put(path, json.dumps(doc).encode()),
                        "annotations": {"org.opencontainers.image.ref.name": ref}})  # fmt: skip
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    return path


def tar(*members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name, what in members:
            info = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                info.size = len(what)
                t.addfile(info, io.BytesIO(what))
            else:
                info.type, info.linkname = what
                t.addfile(info)
    return out.getvalue()


def test_a_model_is_a_modelpack_model(homes, model, tmp_path):
    one, _ = homes
    r = one.ok("artifact", "export", "churn:prod", tmp_path / "out", "--oci")
    entry, m = manifest_of(tmp_path / "out")
    assert r.out.strip() == entry["digest"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "churn:prod"
    assert m["artifactType"] == entry["artifactType"] == MODEL + "manifest.v1+json"
    assert m["config"]["mediaType"] == MODEL + "config.v1+json"
    (layer,) = m["layers"]
    assert layer["mediaType"] == MODEL + "weight.v1.raw"
    assert layer["annotations"] == {"org.cncf.model.filepath": "model.bin",
                                    "org.opencontainers.image.title": "model.bin"}  # fmt: skip
    assert read(tmp_path / "out", layer["digest"]) == model.read_bytes()
    config = json.loads(read(tmp_path / "out", m["config"]["digest"]))
    assert config["modelfs"] == {"type": "layers", "diffIds": [layer["digest"]]}
    assert config["descriptor"] == {"name": "model.bin"} and config["config"] == {}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "blobs", "index.json", "oci-layout"]  # fmt: skip


@pytest.mark.parametrize("how", ["directory", "archive", "gzip"])
def test_out_and_in_again(homes, model, tmp_path, how):
    one, two = homes
    path = tmp_path / ("out" if how == "directory" else "out.tar")
    one.ok("artifact", "export", "a1", path, "--oci")
    if how == "gzip":
        subprocess.run(["gzip", path], check=True)
        path = tmp_path / "out.tar.gz"
    id_ = two.ok("artifact", "import", path, "--oci").out.strip()
    was, now = show(one, "a1"), show(two, id_)
    for key in ("name", "type", "digest", "size", "metadata", "kind", "files"):
        assert now[key] == was[key], key
    assert now["source"] == str(path)
    two.ok("artifact", "export", id_, tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == model.read_bytes()
    assert two.ok("artifact", "export", id_, tmp_path / "again", "--oci").out == one.ok(
        "artifact", "export", "a1", tmp_path / "third", "--oci").out  # fmt: skip


def test_a_directory_comes_back_as_the_same_tree(homes, folder, tmp_path):
    one, two = homes
    one.ok("artifact", "import", folder, "--type", "Model")
    digests = {one.ok("artifact", "export", "a1", tmp_path / n, "--oci").out for n in "ab"}
    assert len(digests) == 1
    _, m = manifest_of(tmp_path / "a")
    assert m["layers"][0]["mediaType"] == MODEL + "weight.v1.tar"
    id_ = two.ok("artifact", "import", tmp_path / "a", "--oci").out.strip()
    was, now = show(one, "a1"), show(two, id_)
    assert (now["digest"], now["size"], now["files"], now["kind"]) == (
        was["digest"], was["size"], was["files"], "dir")  # fmt: skip
    two.ok("artifact", "export", id_, tmp_path / "back")
    assert os.readlink(tmp_path / "back/link") == "weights.bin"
    assert (tmp_path / "back/run.sh").stat().st_mode & stat.S_IXUSR
    assert (tmp_path / "back/sub/empty").is_dir()
    assert (tmp_path / "back/weights.bin").read_bytes() == (folder / "weights.bin").read_bytes()


def test_datasets_and_bare_metadata_travel_too(homes, folder, tmp_path, dugout, write):
    from test_report import step

    one, two = homes
    (tmp_path / "d.csv").write_text("a,b\n")
    one.ok("artifact", "import", tmp_path / "d.csv", "--metadata", "rows=1")
    one.ok("artifact", "export", "a1", tmp_path / "out", "--oci")
    _, m = manifest_of(tmp_path / "out")
    assert m["artifactType"] == "application/vnd.dugout.dataset.v1+json"
    assert m["config"]["mediaType"] == EMPTY
    assert m["layers"][0]["mediaType"] == MODEL + "dataset.v1.raw"
    id_ = two.ok("artifact", "import", tmp_path / "out", "--oci").out.strip()
    assert show(two, id_)["metadata"] == {"rows": 1}

    f = write({"a": {**step("", {"m": {"f1": 0.5}}), "art_out": {"m": "system.Metrics"}}})
    dugout.ok("run", f)
    dugout.ok("artifact", "export", "@latest/a:m", tmp_path / "m", "--oci")
    _, m = manifest_of(tmp_path / "m")
    assert m["layers"] == [{"mediaType": EMPTY, "size": 2, "digest": m["config"]["digest"]}]
    id_ = two.ok("artifact", "import", tmp_path / "m", "--oci").out.strip()
    got = show(two, id_)
    assert got["type"] == "system.Metrics" and got["metadata"] == {"f1": 0.5}
    assert got["digest"] is None and got["kind"] == "none"


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_skopeo_copies_it_out_and_in_with_equal_digests(homes, model, folder, tmp_path, kind):
    one, two = homes
    if kind == "dir":
        one.ok("artifact", "import", folder, "--type", "Model")
    what = "a1" if kind == "file" else "a2"
    digest = one.ok("artifact", "export", what, tmp_path / "out", "--oci", "--ref", "v1").out.strip()

    def skopeo(*args):
        done = subprocess.run(["skopeo", *map(str, args)], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    raw = skopeo("inspect", "--raw", "oci:%s:v1" % (tmp_path / "out"))
    assert "sha256:" + hashlib.sha256(raw).hexdigest() == digest
    skopeo("--insecure-policy", "copy", "oci:%s:v1" % (tmp_path / "out"),
           "oci-archive:%s:v2" % (tmp_path / "copy.tar"))  # fmt: skip
    skopeo("--insecure-policy", "copy", "oci-archive:%s:v2" % (tmp_path / "copy.tar"),
           "oci:%s:v3" % (tmp_path / "third"))  # fmt: skip
    entry, _ = manifest_of(tmp_path / "third")
    assert entry["digest"] == digest
    for path in (tmp_path / "copy.tar", tmp_path / "third"):
        id_ = two.ok("artifact", "import", path, "--oci").out.strip()
        assert show(two, id_)["digest"] == show(one, what)["digest"]
        assert show(two, id_)["metadata"] == show(one, what)["metadata"]


def test_what_others_wrote_is_read(homes, tmp_path):
    _, two = homes
    cnai = "application/vnd.cnai.model."
    layout = layout_of(tmp_path / "l", [("old", cnai + "manifest.v1+json", [
        (cnai + "weight.v1.raw", b"weights", {"org.cnai.model.filepath": "w/model.bin"}),
        (cnai + "doc.v1.raw", b"read me", {"org.opencontainers.image.title": "README.md"}),
        (cnai + "code.v1.tar", tar(("src/train.py", b"print()")), {}),
    ])])  # fmt: skip
    id_ = two.ok("artifact", "import", layout, "--oci", "--name", "bought").out.strip()
    got = show(two, id_)
    assert (got["type"], got["kind"], got["files"], got["name"]) == (
        "system.Model", "dir", 3, "bought")  # fmt: skip
    two.ok("artifact", "export", id_, tmp_path / "back")
    assert (tmp_path / "back/w/model.bin").read_text() == "weights"
    assert (tmp_path / "back/src/train.py").read_text() == "print()"


def test_provenance_rides_along_and_changes_nothing(dugout, write, homes, tmp_path):
    from test_report import tasks

    dugout.ok("run", write(tasks(), name="churn"))
    plain = dugout.ok("artifact", "export", "@latest/train:model", tmp_path / "a", "--oci").out
    r = dugout.ok("artifact", "export", "@latest/train:model", tmp_path / "b", "--oci", "--provenance")
    assert r.out == plain
    entries = json.loads((tmp_path / "b/index.json").read_text())["manifests"]
    model, story = [json.loads(read(tmp_path / "b", e["digest"])) for e in entries]
    assert story["subject"] == {"mediaType": MANIFEST, "digest": entries[0]["digest"],
                                "size": entries[0]["size"]}  # fmt: skip
    (layer,) = story["layers"]
    events = [json.loads(x) for x in read(tmp_path / "b", layer["digest"]).splitlines()]
    assert {e["job"]["name"] for e in events} >= {"churn", "churn.load", "churn.train"}
    read(tmp_path / "b", story["config"]["digest"])
    id_ = homes[1].ok("artifact", "import", tmp_path / "b", "--oci").out.strip()
    assert show(homes[1], id_)["digest"] == model["layers"][0]["digest"]


def test_one_of_several_is_chosen_by_name(homes, tmp_path):
    _, two = homes
    layout = layout_of(tmp_path / "l", [
        (ref, "application/x", [("text/plain", ref.encode(), {})]) for ref in ("one", "two")])  # fmt: skip
    r = two("artifact", "import", layout, "--oci")
    assert r.rc == 2 and "one, two" in r.err and "--ref" in r.err
    id_ = two.ok("artifact", "import", layout, "--oci", "--ref", "two").out.strip()
    assert two.ok("artifact", "cat", id_).out == "two"
    assert two("artifact", "import", layout, "--oci", "--ref", "three").rc == 2


def break_blob(layout, which):
    _, m = manifest_of(layout)
    digest = m["layers"][0]["digest"] if which == "layer" else m["config"]["digest"]
    path = layout / "blobs/sha256" / digest[7:]
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("kind", ["file", "dir"])
def test_bytes_that_changed_are_refused(homes, model, folder, tmp_path, kind):
    one, two = homes
    one.ok("artifact", "import", folder, "--type", "Model")
    one.ok("artifact", "export", "a1" if kind == "file" else "a2", tmp_path / "out", "--oci")
    break_blob(tmp_path / "out", "layer")
    r = two("artifact", "import", tmp_path / "out", "--oci")
    assert r.rc == 4 and len(r.err.splitlines()) == 1, r
    assert two.ok("artifacts", "--json").json == []
    assert not os.listdir(two.home / "tmp")


def test_a_manifest_that_lies_about_its_content_is_refused(homes, tmp_path):
    _, two = homes
    layout = layout_of(tmp_path / "l", [("x", "application/x", [("text/plain", b"a", {})])])
    entry, m = manifest_of(layout)
    m["annotations"] = {"dugout.artifact.digest": "sha256:" + "0" * 64}
    index = {"manifests": [{"mediaType": MANIFEST, **put(layout, json.dumps(m).encode())}]}
    (layout / "index.json").write_text(json.dumps(index))
    r = two("artifact", "import", layout, "--oci")
    assert r.rc == 4 and "its manifest says" in r.err


HOSTILE = {
    "dots": [("../evil", b"x")],
    "absolute-link": [("l", (tarfile.SYMTYPE, "/tmp")), ("l/evil", b"x")],
    "link-up": [("a/l", (tarfile.SYMTYPE, "../../..")), ("a/l/evil", b"x")],
    "device": [("null", (tarfile.CHRTYPE, ""))],
    "fifo": [("pipe", (tarfile.FIFOTYPE, ""))],
    "hard-link": [("h", (tarfile.LNKTYPE, "/etc/passwd"))],
    "root-is-a-file": [(".", b"x")],
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_tar_stays_inside(homes, tmp_path, name):
    _, two = homes
    outside = tmp_path / "evil"
    layout = layout_of(tmp_path / "l", [
        ("x", "application/x", [("application/x.tar", tar(*HOSTILE[name]), {})])])  # fmt: skip
    r = two("artifact", "import", layout, "--oci")
    assert r.rc in (0, 2, 4), r
    assert not outside.exists() and not os.path.exists("/tmp/evil")
    if r.rc == 0:  # links were resolved inside: what is there is below the tree
        two.ok("artifact", "export", r.out.strip(), tmp_path / "back")
    else:
        assert len(r.err.splitlines()) == 1
    assert not os.listdir(two.home / "tmp")


def test_a_sparse_file_counts_what_it_claims(homes, tmp_path):
    from hostile import sparse

    _, two = homes
    layout = layout_of(tmp_path / "l", [
        ("x", "application/x", [("application/x.tar", sparse("huge", 1 << 40), {})])])  # fmt: skip
    r = two("artifact", "import", layout, "--oci")
    assert r.rc == 5 and "huge" in r.err, r  # a terabyte of nothing would be hashed
    assert not os.listdir(two.home / "tmp")


def test_what_is_no_artifact_is_said(homes, tmp_path):
    _, two = homes
    (tmp_path / "empty").mkdir()
    assert two("artifact", "import", tmp_path / "empty", "--oci").rc in (2, 3)
    assert two("artifact", "import", tmp_path / "nothing", "--oci").rc == 3
    image = layout_of(tmp_path / "image", [])
    r = two("artifact", "import", image, "--oci")
    assert r.rc == 2 and "image load" in r.err


def test_an_export_never_overwrites_a_directory(homes, model, tmp_path):
    one, _ = homes
    (tmp_path / "out").mkdir()
    r = one("artifact", "export", "a1", tmp_path / "out", "--oci")
    assert r.rc == 2 and "exists" in r.err
    assert not [p for p in tmp_path.iterdir() if "dugout-" in p.name]
