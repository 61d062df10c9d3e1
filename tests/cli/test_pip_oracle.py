# SPDX-License-Identifier: Apache-2.0
"""Versions, specifiers, requirements and markers, next to Python's own `packaging`.

pytest brings `packaging` along. It answers rows made from a fixed seed, and the unit test
programs, which take a file of rows as their argument, must give the same answers.
"""
import pathlib
import random
import subprocess

import pytest

markers = pytest.importorskip("packaging.markers")
requirements = pytest.importorskip("packaging.requirements")
specifiers = pytest.importorskip("packaging.specifiers")
utils = pytest.importorskip("packaging.utils")
version = pytest.importorskip("packaging.version")

PROGRAMS = pathlib.Path(__file__).resolve().parents[2] / "build" / "test"
OPERATORS = ["==", "!=", "~=", "<", "<=", ">", ">=", "==="]


def answers_agree(name, rows, tmp_path):
    program = PROGRAMS / name
    if not program.exists():
        pytest.skip(f"no {program.name}: make test-programs builds it")
    file = tmp_path / "rows"
    file.write_text("".join("\t".join(row) + "\n" for row in rows))
    done = subprocess.run([program, file], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[-1:] == [f"{len(rows)} passed, 0 failed"], "\n".join(lines[-30:]) + done.stderr


def number(r):
    return r.choice(["0", "0", "1", "1", "2", "3", "9", "10", "01", "20240229", "9" * 25])


def release(r):
    return ".".join(number(r) for _ in range(r.choice([1, 1, 2, 2, 2, 3, 3, 4])))


def suffix(r, words):
    return r.choice(["", ".", "-", "_"]) + r.choice(words) + r.choice(["", ".", "-", "_"]) + r.choice(
        ["", number(r), number(r)])


def version_text(r):
    """Mostly versions, in every spelling; some are wrong by a character."""
    text = r.choice(["", "", "", "v"]) + r.choice(["", "", "", "0!", "1!"]) + release(r)
    if r.random() < 0.4:
        text += suffix(r, ["a", "b", "c", "rc", "alpha", "beta", "pre", "preview"])
    if r.random() < 0.3:
        text += r.choice(["-" + number(r), suffix(r, ["post", "rev", "r"])])
    if r.random() < 0.3:
        text += suffix(r, ["dev"])
    if r.random() < 0.3:
        text += "+" + r.choice(["cpu", "1", "7", "ubuntu.1", "Ubuntu-01", "a_b.2", "2.a"])
    if r.random() < 0.15:
        text = text.upper()
    if r.random() < 0.1:
        at = r.randrange(len(text) + 1)
        text = text[:at] + r.choice("a.-+!_ *1x") + text[at + r.choice([0, 1]):]
    return text


def small_version(r):
    """From so few that two of them often meet."""
    text = r.choice(["1", "1.0", "1.1", "1.0.0", "1.1.1", "2", "0!1"])
    text += r.choice(["", "", "", "a1", "rc1"]) + r.choice(["", "", "", ".post1"])
    text += r.choice(["", "", "", ".dev1"]) + r.choice(["", "", "", "+x", "+1"])
    return text


def any_version(r):
    return small_version(r) if r.random() < 0.6 else version_text(r)


def read(text):
    try:
        return version.Version(text)
    except version.InvalidVersion:
        return None


def normal_row(r):
    text = version_text(r)
    v = read(text)
    return ["normal", text, str(v) if v else "none"]


def compare_row(r):
    texts = [any_version(r), any_version(r)]
    a, b = map(read, texts)
    if a is None or b is None:
        return ["compare", *texts, "none"]
    return ["compare", *texts, str((a > b) - (a < b))]


def clause_text(r):
    return r.choice(OPERATORS) + r.choice(["", "", " "]) + any_version(r) + r.choice(
        ["", "", "", ".*"])


def clause_answer(clause, text):
    try:
        return str(int(specifiers.Specifier(clause).contains(text, prereleases=True)))
    except specifiers.InvalidSpecifier:
        return "none"


def is_fair(clause, v):
    """Leave out where `packaging` strays from PEP 440: up to 23 it pads 1a1 wrongly when it looks
    for 1.0.* and trips over epochs, and ~= cuts the text of its version, not the version."""
    right = clause.lstrip("~=!<> ")
    if clause.startswith("~=") and read(right):
        return not v.epoch and "!" not in right and right == str(read(right))
    if clause.endswith(".*"):
        return not v.epoch and "!" not in right and len(v.release) >= right.count(".")
    return True


def allows_row(r):
    while True:
        clause, text = clause_text(r), any_version(r)
        v = read(text)
        if v and is_fair(clause, v):
            return ["allows", clause, text, clause_answer(clause, text)]


def test_versions_and_specifiers_are_read_as_packaging_reads_them(tmp_path):
    r = random.Random(440)
    rows = [r.choice([normal_row, compare_row, allows_row, allows_row])(r) for _ in range(20000)]
    answers_agree("run_pep440_test", rows, tmp_path)
