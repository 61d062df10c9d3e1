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
    separators = ["", ".", "-", "_"]
    return (r.choice(separators) + r.choice(words) + r.choice(separators)
            + r.choice(["", number(r), number(r)]))


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


# ---- markers and requirements --------------------------------------------------------------------

# What the unit test's image says of itself.
ENVIRONMENT = {
    "os_name": "posix", "sys_platform": "linux", "platform_machine": "x86_64",
    "platform_system": "Linux", "platform_release": "6.1.0-18-amd64",
    "platform_version": "#1 SMP Debian 6.1.76", "platform_python_implementation": "CPython",
    "python_version": "3.11", "python_full_version": "3.11.7", "implementation_name": "cpython",
    "implementation_version": "3.11.7", "extra": "",
}
VARIABLES = [*ENVIRONMENT, "os.name", "sys.platform", "python_implementation", "python_version"]
VALUES = ["3.11", "3.9", "3.8", "3.*", "3.11.7", "2.7 3.11", "linux", "posix", "win32", "CPython",
          "x86_64", ""]
MARKER_OPERATORS = [*OPERATORS[:-1], "in", "not in"]  # === is for texts with us


def reads_to_the_end():
    """Up to 23 `packaging` took no notice of what follows a marker."""
    try:
        return not markers.Marker("os_name == 'posix' 3")
    except markers.InvalidMarker:
        return True


def blanks(r, least=0):
    return " " * r.choice([least, least, 1, 2])


def marker_term(r):
    left, right = r.choice(VARIABLES), r.choice("'\"").join(["", r.choice(VALUES), ""])
    if r.random() < 0.2:
        left, right = right, left
    if r.random() < 0.1:
        left, right = "'3.10'", r.choice(VARIABLES)
    operator = r.choice(MARKER_OPERATORS)
    room = 1 if operator[0] in "in" else 0
    return left + blanks(r, room) + operator + blanks(r, room) + right


def marker_text(r, depth=0):
    if depth > 3 or r.random() < 0.4:
        text = marker_term(r)
    else:
        glue = blanks(r, 1) + r.choice(["and", "or"]) + blanks(r, 1)
        text = glue.join(marker_text(r, depth + 1) for _ in range(r.choice([1, 2, 2, 3])))
        if r.random() < 0.4:
            text = "(" + blanks(r) + text + blanks(r) + ")"
    if depth == 0 and r.random() < 0.1 and reads_to_the_end():
        at = r.randrange(len(text) + 1)
        text = text[:at] + r.choice("()'\" a=3") + text[at + r.choice([0, 1]):]
    return text


def marker_answer(marker):
    try:
        return str(int(marker.evaluate(ENVIRONMENT)))
    except markers.UndefinedComparison:
        return "none"


def marker_row(r):
    while True:
        text = marker_text(r)
        try:
            return ["marker", text, marker_answer(markers.Marker(text))]
        except markers.InvalidMarker:
            return ["marker", text, "none"]
        except (version.InvalidVersion, KeyError):
            pass  # `packaging` trips over a version next to a text, and over two texts


def requirement_text(r, clauses):
    text = r.choice(["some-package", "Some.Package", "SOME__package", "other", "some-packages"])
    text += blanks(r) + r.choice(["", "", "", "[a]", "[a, b-c]", "[]", "[ a ]", "[a"])
    joined = (blanks(r) + "," + blanks(r)).join(clauses)
    text += blanks(r) + (f"({joined})" if joined and r.random() < 0.2 else joined)
    if r.random() < 0.3:
        text += blanks(r) + ";" + blanks(r) + marker_text(r, 2)
    if r.random() < 0.05:
        text += r.choice(["@ https://host/x", " x", ";", ",", ")", "@"])
    return blanks(r) + text + blanks(r)


def answer_of(text, have):
    try:
        wanted = requirements.Requirement(text)
    except (requirements.InvalidRequirement, specifiers.InvalidSpecifier):
        return "none"
    needed = marker_answer(wanted.marker) if wanted.marker else "1"
    if wanted.url or needed == "none":
        return "none"
    if needed == "0":
        return "unneeded"
    if utils.canonicalize_name(wanted.name) != "some-package":
        return "absent"
    return "satisfied" if wanted.specifier.contains(have, prereleases=True) else "other"


def answer_row(r):
    while True:
        have = small_version(r)
        clauses = [clause_text(r).replace("===", "==") for _ in range(r.choice([0, 1, 1, 2, 3]))]
        text = requirement_text(r, clauses)
        try:
            if all(is_fair(clause, read(have)) for clause in clauses):
                return ["answer", text, have, answer_of(text, have)]
        except (version.InvalidVersion, KeyError):
            pass


def test_markers_and_requirements_are_read_as_packaging_reads_them(tmp_path):
    r = random.Random(508)
    rows = [r.choice([marker_row, answer_row])(r) for _ in range(20000)]
    answers_agree("run_pip_test", rows, tmp_path)


# ---- scripts -------------------------------------------------------------------------------------

RECORDER = """#!/bin/sh
case $1 in -m) shift 2;; esac
while [ "$1" != install ]; do shift; done
shift
for word; do printf '%s|' "$word"; done >>"$RECORD"
"""


def escape(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def quoted(r, text):
    """One word of a script that means `text`, in one of the ways a shell has for it."""
    style = r.choice(["plain", "single", "double", "mixed"])
    if style == "plain" and text:
        return "".join(c if c.isalnum() or c in "=~.,_-[]" else "'\n'" if c == "\n" else "\\" + c
                       for c in text)
    if style == "single" and "'" not in text:
        return f"'{text}'"
    if style == "mixed" and len(text) > 1:
        at = r.randrange(1, len(text))
        return quoted(r, text[:at]) + r.choice(["", "", "\\\n"]) + quoted(r, text[at:])
    return '"' + "".join("\\" + c if c in '$`"\\' else c for c in text) + '"'


def requirement_word(r):
    text = "".join(r.choice("abcxyz019=<>~!.,;[] '\"\\$`#*&()\n\t?^%@{}/")
                   for _ in range(r.randrange(1, 12)))
    return text if text[0] not in "-~" else "x" + text


def pip_line(r, words):
    pip = r.choice(["pip", "pip3", "python3 -m pip", "A=1 python -m pip --quiet"])
    line = f"{pip} install"
    for word in words:
        line += r.choice([" ", " ", "  ", " \\\n  ", "\t"]) + quoted(r, word)
    return line + r.choice(["", "", " # 'a comment", " >/dev/null 2>&1", " 2> /dev/null"])


def script_row(r, tmp_path):
    lines = [pip_line(r, [requirement_word(r) for _ in range(r.randrange(1, 4))])
             for _ in range(r.choice([1, 1, 2, 3]))]
    before = ["", "", "true || pip install fallback; ", "if [ -x $(command -v pip) ]; then true; fi;"]
    script = "\n".join(r.choice(before) + line for line in lines) + '\n"$0" "$@"'
    record = tmp_path / "record"
    record.write_text("")
    done = subprocess.run(["sh", "-c", script, "true"], capture_output=True,
                          env={"PATH": f"{tmp_path}:/usr/bin:/bin", "RECORD": str(record)})
    assert done.returncode == 0, (script, done.stderr)
    return ["words", escape(script), escape(record.read_text())]


def test_scripts_are_cut_into_words_as_sh_cuts_them(tmp_path):
    for name in ["pip", "pip3", "python", "python3"]:
        (tmp_path / name).write_text(RECORDER)
        (tmp_path / name).chmod(0o755)
    r = random.Random(2)
    rows = [script_row(r, tmp_path) for _ in range(400)]
    answers_agree("run_pip_test", rows, tmp_path)
