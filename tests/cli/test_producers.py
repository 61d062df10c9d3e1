# SPDX-License-Identifier: Apache-2.0
"""What real tools write, with their faults: archives made here after docker, containerd, podman,
skopeo, umoci and others, whatever version had the fault."""

import gzip
import io
import json
import subprocess
import tarfile

import pytest

from conftest import BIN, Dugout
from hostile import (
    MEDIA, Oci, config_of, dir_, docker, file_, hard, header, layer_dir, link, refused, sha, tar_of,
    whiteout, write_tar, zstd_frame,
)

LOW = tar_of(dir_("etc"), file_("etc/low", b"low\n"))
HIGH = tar_of(dir_("etc"), file_("etc/high", b"high\n"))


@pytest.fixture
def bare(tmp_path):
    d = Dugout(tmp_path / "bare")
    d.bin = BIN
    d.ok("images")
    return d


def members_of(oci: Oci) -> dict:
    path = oci.write()
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def loaded(d, path, *args) -> str:
    d.ok("image", "load", path, *args)
    (image,) = d.ok("images", "--json").json
    return image["id"]


def legacy(layers, config: bytes, name="evil:1") -> bytes:
    return json.dumps([{"Config": "blobs/sha256/" + sha(config), "RepoTags": [name],
                        "Layers": ["blobs/sha256/" + sha(x) for x in layers]}]).encode()


def test_docker_25_0_wrote_manifests_without_layers(bare, tmp_path):
    oci = Oci(tmp_path / "oci", [LOW, HIGH])
    oci.manifest["layers"] = []
    members = members_of(oci)
    members["manifest.json"] = legacy([LOW, HIGH], oci.config)
    assert loaded(bare, write_tar(tmp_path / "a.tar", members)) == sha(oci.config)
    assert (layer_dir(bare, HIGH) / "etc/high").read_bytes() == b"high\n"


def test_an_oci_archive_may_hold_a_manifest_json_as_well(bare, tmp_path):
    oci = Oci(tmp_path / "oci", [LOW, HIGH])
    members = members_of(oci)
    members["manifest.json"] = b'[{"Config": "gone.json", "RepoTags": null, "Layers": []}]'
    assert loaded(bare, write_tar(tmp_path / "a.tar", members)) == sha(oci.config)


def test_a_blob_that_was_left_out_is_named_in_full(bare, tmp_path):
    oci = Oci(tmp_path / "oci", [LOW, HIGH])
    members = members_of(oci)
    del members["blobs/sha256/" + sha(HIGH)]
    r = bare("image", "load", write_tar(tmp_path / "a.tar", members))
    assert r.rc == 3 and sha(HIGH) in r.err and len(r.err.splitlines()) == 1, r


def test_layers_may_be_links_to_other_members(bare, tmp_path):
    text = config_of([LOW, HIGH])
    manifest = [{"Config": sha(text) + ".json", "RepoTags": ["evil:1"],
                 "Layers": ["a/layer.tar", "b/layer.tar"]}]
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(
        file_(sha(text) + ".json", text), link("a/layer.tar", "../" + sha(LOW) + ".tar"),
        file_(sha(LOW) + ".tar", LOW), link("b/layer.tar", "../c/layer.tar"),
        hard("c/layer.tar", "d/layer.tar"), file_("d/layer.tar", HIGH),
        file_("manifest.json", json.dumps(manifest).encode())))
    assert loaded(bare, path) == sha(text)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "b/layer.tar", "a/layer.tar"])
def test_links_that_lead_nowhere_are_refused(bare, tmp_path, target):
    text = config_of([LOW])
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(
        file_("c.json", text), link("a/layer.tar", target), link("a/b/layer.tar", "../layer.tar"),
        file_("manifest.json", json.dumps(
            [{"Config": "c.json", "RepoTags": None, "Layers": ["a/layer.tar"]}]).encode())))
    r = bare("image", "load", path)
    assert r.rc in (3, 4) and "layer" in r.err, r


def test_the_order_of_members_and_a_leading_dot_mean_nothing(bare, tmp_path):
    members = members_of(Oci(tmp_path / "oci", [LOW, HIGH]))
    seen = set()
    for i, names in enumerate((sorted(members), sorted(members, reverse=True))):
        path = write_tar(tmp_path / ("%d.tar" % i), {"./" + n: members[n] for n in names})
        seen.add(loaded(bare, path))
    assert len(seen) == 1


@pytest.mark.parametrize("wrap", [
    lambda x: gzip.compress(x),
    lambda x: gzip.compress(x[:700]) + gzip.compress(x[700:]),
    lambda x: gzip.compress(x) + bytes(512),
    lambda x: zstd_frame(20, [x[:600], x[600:]]),
    lambda x: zstd_frame(20, [x[:600]]) + b"\x50\x2a\x4d\x18\x04\0\0\0note" + zstd_frame(20, [x[600:]])
    + b"\x5f\x2a\x4d\x18\x03\0\0\0toc",
], ids=["gzip", "members", "padded", "zstd", "zstd-chunked"])
def test_what_a_layer_is_packed_with_is_seen_from_its_bytes(bare, tmp_path, wrap):
    path = docker(tmp_path / "a.tar", [LOW], stored=[wrap(LOW)])
    assert loaded(bare, path) == sha(config_of([LOW]))
    assert (layer_dir(bare, LOW) / "etc/low").read_bytes() == b"low\n"


@pytest.mark.parametrize("magic, said", [(b"BZh91AY&SY", "bunzip2"), (b"\xfd7zXZ\0\0\4", "unxz")])
def test_what_is_not_read_is_named_with_what_to_do(bare, tmp_path, magic, said):
    refused(bare, docker(tmp_path / "a.tar", [LOW], stored=[magic + bytes(600)]), 2, said)
    (tmp_path / "whole").write_bytes(magic + bytes(600))
    r = bare("image", "load", tmp_path / "whole")
    assert r.rc == 2 and said in r.err, r


def test_strangers_in_an_index_are_passed_over(bare, tmp_path):
    oci = Oci(tmp_path / "oci", [LOW])
    oci.write()
    index = json.loads((oci.path / "index.json").read_text())
    attest = dict(index["manifests"][0], platform={"os": "unknown", "architecture": "unknown"},
                  annotations={"vnd.docker.reference.type": "attestation-manifest"})
    odd = {"mediaType": "application/vnd.example.sbom+json", "digest": "sha256:" + "0" * 64, "size": 3}
    windows = dict(index["manifests"][0], platform={"os": "windows", "architecture": "amd64"})
    index["manifests"] = [odd, attest, windows] + index["manifests"]
    (oci.path / "index.json").write_text(json.dumps(index))
    (oci.path / "README").write_text("a file that no specification names")
    assert loaded(bare, oci.path) == sha(oci.config)


def test_a_layer_of_an_unknown_kind_is_refused(bare, tmp_path):
    oci = Oci(tmp_path / "oci", [LOW])
    oci.manifest["layers"][0]["mediaType"] = "application/vnd.example.layer+squashfs"
    assert "squashfs" in refused(bare, oci.write())


def test_a_foreign_layer_is_used_when_it_is_there_and_never_fetched(bare, tmp_path):
    oci = Oci(tmp_path / "oci", [LOW])
    oci.manifest["layers"][0].update(
        mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar",
        urls=["http://127.0.0.1:1/layer", "file:///etc/passwd"])
    oci.write()
    blob = oci.path / "blobs" / "sha256" / sha(LOW)
    data = blob.read_bytes()
    blob.unlink()
    r = bare("image", "load", oci.path)
    assert r.rc == 3 and sha(LOW) in r.err
    blob.write_bytes(data)
    bare.ok("image", "load", oci.path)


def test_every_optional_field_may_be_null(bare, tmp_path):
    doc = json.loads(config_of([LOW]))
    doc.update(created=None, author=None, history=None, variant=None)
    doc["config"] = dict.fromkeys(("User", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir",
                                   "Labels", "StopSignal", "ExposedPorts", "OnBuild"))
    oci = Oci(tmp_path / "oci", [LOW])
    oci.config = json.dumps(doc).encode()
    oci.manifest["config"] = oci.descriptor("config", oci.config)
    assert loaded(bare, oci.write()) == sha(oci.config)


def test_a_very_old_docker_s_archive_says_what_to_do(bare, tmp_path):
    r = bare("image", "load", write_tar(tmp_path / "a.tar", {
        "repositories": b'{"a": {"1": "x"}}', "x/json": b"{}", "x/layer.tar": LOW}))
    assert r.rc == 2 and "docker before 1.10" in r.err


# ---- within layers -------------------------------------------------------------------------------


@pytest.fixture
def image(dugout, tiny_tar, tmp_path):
    def image_(*layers):
        dugout.ok("image", "load", docker(tmp_path / "e.tar", [tiny_tar.read_bytes(), *layers]))
        return lambda *argv: dugout.ok("box", "evil:1", "--", *argv).out

    return image_


def test_the_last_of_two_entries_of_a_name_wins(image):
    box = image(tar_of(file_("x", b"1"), dir_("y"), file_("y/in"), file_("x", b"2"), file_("y", b"3")))
    assert box("cat", "/x", "/y") == "23"


def test_files_below_a_link_of_a_lower_layer_go_where_it_leads(image):
    box = image(tar_of(dir_("usr"), dir_("usr/libx"), link("libx", "usr/libx")),
                tar_of(file_("libx/new", b"new")))
    assert box("cat", "/usr/libx/new", "/libx/new") == "newnew"


def test_hard_links_reach_files_of_lower_layers(image):
    box = image(tar_of(file_("a", b"below", 0o640)), tar_of(hard("b", "a")))
    assert box("sh", "-c", "cat /b; stat -c %a /b") == "below640\n"


def test_long_names_and_all_dialects_of_them(image):
    name = "/".join(["d" * 100] * 5)
    gnu = io.BytesIO()
    with tarfile.open(fileobj=gnu, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo(name + "/gnu")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"gnu"))
    box = image(tar_of(file_(name + "/pax", b"pax")), gnu.getvalue())
    assert box("cat", "/" + name + "/pax", "/" + name + "/gnu") == "paxgnu"


def test_holes_stay_holes(image, tmp_path):
    with open(tmp_path / "sparse", "wb") as f:
        f.seek(50 << 20)
        f.write(b"end")
    layers = []
    for form in (["--format=gnu"], ["--format=posix", "--sparse-version=0.1"],
                 ["--format=posix", "--sparse-version=1.0"]):
        done = subprocess.run(["tar", "-S", *form, "-cf", "-", "-C", tmp_path, "sparse"],
                              capture_output=True, check=True)
        assert len(done.stdout) < 1 << 20
        box = image(done.stdout)
        out = box("sh", "-c", "stat -c '%s %b' /sparse; tail -c 3 /sparse").split()
        assert out[0] == str((50 << 20) + 3) and int(out[1]) < 1000 and out[2] == "end"
        layers.append(done.stdout)
    assert len(set(map(sha, layers))) == 3


def test_what_aufs_left_behind_is_passed_over(image):
    box = image(tar_of(file_(".wh..wh.aufs", b""), dir_(".wh..wh.plnk"), file_(".wh..wh.plnk/1.2"),
                       file_("after", b"1")))
    assert box("sh", "-c", "ls -A / | grep -c wh; cat /after").split() == ["0", "1"]


def test_global_headers_name_nothing(image):
    body = b"52 comment=0123456789012345678901234567890123456789\n" + b"13 path=evil\n"
    box = image(header("pax_global_header", len(body), b"g") + body.ljust(512, b"\0")
                + tar_of(file_("one", b"1"), file_("two", b"2")))
    assert box("sh", "-c", "cat /one /two; ls /evil 2>&1 | grep -c No") == "121\n"
