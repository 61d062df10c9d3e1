# SPDX-License-Identifier: Apache-2.0
"""Pipeline files as people hand them over: archives of other tools, JSON, stdin, mistakes."""
import io
import json
import os
import pathlib
import subprocess
import tarfile
import zipfile

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("DUGOUT_BIN", TOP / "build" / "dugout"))
SHARED = pathlib.Path(os.environ.get("DUGOUT_SHARED", TOP.parent / "shared"))
HELLO = (TOP / "pipelines" / "hello" / "hello.yaml").read_text()

READ = (0, 3)  # read and planned; 3 says that its image is not here
WRONG_INPUT, DAMAGED, OVER_LIMIT = 2, 4, 5


@pytest.fixture
def plan(tmp_path):
    """plan(FILE, stdin=None) -> the finished process of `dugout plan FILE`."""
    if not BIN.exists():
        pytest.skip(f"{BIN} is not built")

    def run(file, stdin=None):
        return subprocess.run(
            [BIN, "--home", tmp_path / "home", "plan", file],
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, timeout=300,
        )

    return run


def said(proc):
    return proc.stderr.decode(errors="replace")


def refused(proc, code, *words):
    text = said(proc)
    assert proc.returncode == code, text
    assert proc.stdout == b""
    assert len(text.strip().splitlines()) == 1, text
    for word in words:
        assert word in text


def zip_of(entries, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, text in entries.items():
            archive.writestr(name, text)
    return out.getvalue()


def tar_of(entries, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=form) as archive:
        for name, text in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


LONG = "a-directory-with-a-long-name/" * 8 + "hello.yaml"

ARCHIVES = {
    "deflated.zip": zip_of({"README": "x", "hello.yaml": HELLO}),
    "stored.zip": zip_of({"hello.yaml": HELLO}, zipfile.ZIP_STORED),
    "chosen.zip": zip_of({"a.yaml": "a", "b.yaml": "b", "pipeline.yaml": HELLO}),
    "pax.tar.gz": tar_of({"README": "x", LONG: HELLO}),
    "gnu.tar.gz": tar_of({LONG: HELLO}, tarfile.GNU_FORMAT),
    "ustar.tgz": tar_of({"./pipeline.yaml": HELLO, "other.yaml": "x"}, tarfile.USTAR_FORMAT),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_of_python_are_read(plan, tmp_path, name):
    (tmp_path / name).write_bytes(ARCHIVES[name])
    proc = plan(name)
    assert proc.returncode in READ, said(proc)


def test_a_file_is_told_by_its_bytes_when_it_comes_on_stdin(plan):
    for data in (HELLO.encode(), ARCHIVES["deflated.zip"], ARCHIVES["pax.tar.gz"]):
        proc = plan("-", stdin=data)
        assert proc.returncode in READ, said(proc)


def test_json_is_read_too(plan, tmp_path):
    yaml = pytest.importorskip("yaml")
    (tmp_path / "hello.json").write_text(json.dumps(yaml.safe_load(HELLO)))
    assert plan("hello.json").returncode in READ


REFUSED = {
    "two.zip": (zip_of({"a.yaml": HELLO, "b.yaml": HELLO}), WRONG_INPUT, "a.yaml and b.yaml"),
    "none.zip": (zip_of({"README": "x"}), WRONG_INPUT, "none of the 1 entries"),
    "text.zip": (b"not a zip\n", WRONG_INPUT, "text.zip: this is no zip archive"),
    "cut.zip": (ARCHIVES["deflated.zip"][:-30], DAMAGED, "cut.zip"),
    "cut.tar.gz": (ARCHIVES["pax.tar.gz"][:-30], DAMAGED, "cut.tar.gz"),
    "empty.yaml": (b"# only a comment\n", WRONG_INPUT, "no pipeline in this file"),
    "picture.png": (b"\x89PNG\r\n\x1a\n\0\0", WRONG_INPUT, "picture.png:1:1: byte 0x89 is not UTF-8"),
    "latin1.yaml": ("name: caf\u00e9\n".encode("latin-1"), WRONG_INPUT, "latin1.yaml:1:10: byte 0xe9"),
    "tab.yaml": (b"a:\n\tb: 1\n", WRONG_INPUT, "tab.yaml:2:1:"),
    "typo.yaml": (HELLO.replace("producerTask: greet", "producerTask: gret").encode(), WRONG_INPUT,
                  'task "gret" does not exist, did you mean "greet"'),
    "key.yaml": (HELLO.replace("schemaVersion", "schemaVerion").encode(), WRONG_INPUT,
                 'unknown field "schemaVerion", did you mean "schemaVersion"'),
    "deep.yaml": (b"[" * 100000, OVER_LIMIT, "deep.yaml:1:101: nested more than 100 levels deep"),
    "laughs.yaml": (b"a0: &a0 [l,l,l,l,l,l,l,l,l]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 20)),
        OVER_LIMIT, "more than 4000000 values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said_in_one_line(plan, tmp_path, name):
    data, code, words = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    refused(plan(name), code, words)
    assert not list((tmp_path / "home").glob("runs/*"))


def test_a_hundred_megabytes_of_garbage_are_refused_at_once(plan, tmp_path):
    with open(tmp_path / "garbage.yaml", "wb") as f:
        f.truncate(100 << 20)
    refused(plan("garbage.yaml"), OVER_LIMIT, "garbage.yaml")


def test_a_missing_file_is_named(plan):
    refused(plan("nowhere.yaml"), 3, "nowhere.yaml")


@pytest.mark.skipif(not (SHARED / "kfp-corpus").is_dir(), reason=f"no corpus in {SHARED}")
@pytest.mark.parametrize("name", ["empty_file.yaml", "empty_zip.zip", "invalid-zip.zip",
                                  "invalid_yaml.yaml", "no_name.yaml", "wrong_format.png"])
def test_the_invalid_files_of_the_corpus_are_refused(plan, name):
    refused(plan(SHARED / "kfp-corpus" / "invalid" / name), WRONG_INPUT, name)
