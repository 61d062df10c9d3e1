#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Take one defence away at a time and see that its test fails.

A security test that passes says little as long as nobody has seen it fail. tests/mutants/*.txt lists
defences: how the source reads without one, and the test that must notice.

    make mutants                    all of them, about a quarter of an hour
    make mutants CASES="12 33"      those of some cases of the security list
    make mutants CASES=more         those that belong to no case

An entry is a few lines, entries are apart by an empty line:

    12,13  a mode is set through a link         cases, and what the mutant does wrong
    in src/image/layer.c                        a file; then whole lines out and in
    -    old line
    +    new line
    fails test_x.py::test_y                     or fuzz/TARGET (its seeds), or unit/PROGRAM

The lines taken out must occur in the file exactly once, together. A change of several places, or of
several files, takes away defences that hold for each other. A line that begins with # is a comment.

Everything happens in build/mutants, a copy of the tree; the checkout is never touched. First all the
tests run once without a mutant. Tests run in process and mount namespaces of their own, so what a box
without a defence leaves behind ends with them. The verdict on a mutant:

    caught by TEST     the test failed by an assertion: good
    SURVIVED           it passed: the test is too weak, or the defence is dead code
    UNCLEAR            it ended in another way: an exception, a time-out, no fixture
    DOES NOT APPLY     the lines are not there, or more than once: the source has moved on
    DOES NOT BUILD     what the compiler said follows
    BROKEN             the test fails without the mutant, too
    skipped            the test cannot run here, and why

The exit status is 1 unless every mutant was caught or skipped.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from typing import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[1]
LISTS = ROOT / "tests" / "mutants"
COPY = ROOT / "build" / "mutants"
SOURCES = ("Makefile", "src", "vendor", "rootfs", "tests", "release", "pipelines")
LINKED = ("dl", "rootfs")  # of build/: large, and never written in place
NOT_COPIED = {"mutants", "fuzz", "out"}
MORE = "more"
TEST_SECONDS = 900
# A mutant unpacks a bomb to its end and waits in vain; a killed import is looked at more often.
LESS = {"DUGOUT_TEST_BOMB_MIB": "768", "DUGOUT_TEST_PATIENCE": "60", "DUGOUT_TEST_KILLS": "20"}


@dataclasses.dataclass(frozen=True)
class Change:
    file: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """The text with the change made; ValueError when the old lines are not there once."""
        n = ("\n" + text).count("\n" + self.old)
        if n != 1:
            raise ValueError("%s has this %d times:\n%s" % (self.file, n, self.old))
        return ("\n" + text).replace("\n" + self.old, "\n" + self.new)[1:]


@dataclasses.dataclass(frozen=True)
class Mutant:
    at: str  # FILE:LINE of the list
    cases: tuple[str, ...]
    what: str
    changes: tuple[Change, ...]
    fails: tuple[str, ...]

    def applied(self, root: pathlib.Path) -> dict[str, str]:
        """The files as this mutant has them."""
        texts: dict[str, str] = {}
        for change in self.changes:
            text = texts.get(change.file) or (root / change.file).read_text()
            texts[change.file] = change.apply(text)
        return texts


@dataclasses.dataclass(frozen=True)
class Outcome:
    test: str
    state: str  # passed, failed (by an assertion), odd (otherwise), skipped
    said: str = ""


# ---- the lists ----------------------------------------------------------------------------------


def entries(text: str) -> Iterator[tuple[int, list[str]]]:
    """The blocks of a list, each with the number of its first line."""
    first, block = 0, []
    for number, line in enumerate(text.split("\n") + [""], 1):
        if line.startswith("#"):
            continue
        if line and not block:
            first = number
        if line:
            block.append(line)
        elif block:
            yield first, block
            block = []


def changes_of(lines: list[str], at: str) -> Iterator[Change]:
    file, old, new = "", "", ""
    for line in lines + ["in "]:
        if line[0] == "-" and not new:
            old += line[1:] + "\n"
        elif line[0] == "+" and old:
            new += line[1:] + "\n"
        elif line[0] == "-" or line.startswith("in "):
            if old:
                yield Change(file, old, new)
            file = line[3:] if line[0] == "i" else file
            old, new = line[1:] + "\n" if line[0] == "-" else "", ""
        else:
            raise SystemExit("%s: what is %r?" % (at, line))


def read_list(path: pathlib.Path) -> Iterator[Mutant]:
    for number, lines in entries(path.read_text()):
        at = "%s:%d" % (path.name, number)
        head = re.fullmatch(r"([0-9,]+|%s)  (.+)" % MORE, lines[0])
        fails = tuple(line[6:] for line in lines if line.startswith("fails "))
        changes = tuple(changes_of([x for x in lines[1:] if not x.startswith("fails ")], at))
        if not head or not fails or not changes:
            raise SystemExit("%s: want cases and a sentence, changes, and what fails" % at)
        yield Mutant(at, tuple(head[1].split(",")), head[2], changes, fails)


def all_mutants() -> list[Mutant]:
    return [m for path in sorted(LISTS.glob("*.txt")) for m in read_list(path)]


# ---- the copy -----------------------------------------------------------------------------------


def files_below(top: pathlib.Path) -> Iterator[pathlib.Path]:
    if top.is_file():
        yield top
    for base, dirs, names in os.walk(top):
        dirs[:] = [d for d in dirs if d != "__pycache__"]
        yield from (pathlib.Path(base) / name for name in names)


def refresh() -> None:
    """Make the copy, or bring it up to date with the checkout. A file that differs gets a new time,
    as what was built of a mutant may be younger than the checkout's."""
    for part in SOURCES:
        there = {p.relative_to(ROOT) for p in files_below(ROOT / part)}
        for path in {p.relative_to(COPY) for p in files_below(COPY / part)} - there:
            (COPY / path).unlink()
        for path in there:
            to = COPY / path
            if not to.exists():
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, to)
            elif to.read_bytes() != (ROOT / path).read_bytes():
                to.write_bytes((ROOT / path).read_bytes())
    for part in (ROOT / "build").iterdir():
        to = COPY / "build" / part.name
        if part.name in NOT_COPIED or to.exists():
            continue
        if part.is_dir():
            copy = os.link if part.name in LINKED else shutil.copy2
            shutil.copytree(part, to, symlinks=True, copy_function=copy)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(part, to)


def build(target: str) -> str:
    """Build one target of the copy; gives what went wrong, "" for nothing."""
    done = subprocess.run(["make", "-C", COPY, target], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True,
                          env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
    return "" if done.returncode == 0 else done.stdout[-2000:]


def target_of(test: str) -> str:
    kind, _, name = test.partition("/")
    return {"fuzz": "build/test/replay/%s_fuzz" % name,
            "unit": "build/test/%s" % name}.get(kind, "build/dugout")


# ---- running tests ------------------------------------------------------------------------------


def pytest_python() -> str:
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import pytest"], capture_output=True).returncode == 0:
            return python
    raise SystemExit("mutants: no python3 with pytest: apt-get install python3-pytest")


def apart(command: list[str], tmp: str) -> subprocess.CompletedProcess[str]:
    """Run a command where it leaves nothing: no process, no mount, no file in `tmp` or /dev/shm. When
    it takes too long it is killed with all of its own."""
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
             'mount -t tmpfs -o mode=1777 shm /dev/shm && exec "$@"', "sh"]
    return subprocess.run(
        ["timeout", "-s", "KILL", str(TEST_SECONDS), *(alone if os.geteuid() == 0 else []), *command],
        cwd=COPY, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "TMPDIR": tmp, "DUGOUT_BIN": str(COPY / "build" / "dugout"),
             "ASAN_OPTIONS": "detect_leaks=1", **LESS})


def state_of(case: xml.etree.ElementTree.Element) -> tuple[str, str]:
    for kind, state in (("skipped", "skipped"), ("error", "odd"), ("failure", "failed")):
        found = case.find(kind)
        if found is not None:
            said = (found.get("message") or "").split("\n")[0]
            asserted = said.startswith(("assert ", "AssertionError", "Failed: "))
            return state if state != "failed" or asserted else "odd", said[:200]
    return "passed", ""


def run_pytest(tests: list[str], more: list[str]) -> list[Outcome]:
    report = COPY / "report.xml"
    report.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="dugout-mutants-", ignore_cleanup_errors=True) as tmp:
        os.chmod(tmp, 0o755)  # some tests run as other users
        done = apart([pytest_python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", *more,
                      "--junitxml=%s" % report, *("tests/cli/" + t for t in tests)], tmp)
    if not report.exists():
        return [Outcome(t, "odd", "pytest: " + done.stdout[-300:].strip()) for t in tests]
    out = []
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        file = (case.get("classname") or "").rpartition(".")[2] + ".py"
        out.append(Outcome("%s::%s" % (file, case.get("name")), *state_of(case)))
    return out


def run_program(test: str) -> Outcome:
    """A unit test, or the seeds of a fuzz target: by a failed check, or by what a sanitizer says."""
    kind, _, name = test.partition("/")
    done = apart([target_of(test), *(["tests/fuzz/seeds/" + name] if kind == "fuzz" else [])], "/tmp")
    if done.returncode == 0:
        return Outcome(test, "passed")
    said = re.search(r"ERROR: \w+Sanitizer: \S+|runtime error: .*|\S+: broken invariant: .*", done.stdout)
    checked = re.search(r"^\d+ passed, [1-9]\d* failed", done.stdout, re.M)
    if said or checked:
        return Outcome(test, "failed", (said or checked)[0])
    return Outcome(test, "odd", done.stdout[-300:])


def run_tests(tests: list[str], more: list[str] | None = None) -> list[Outcome]:
    programs = [t for t in tests if target_of(t) != "build/dugout"]
    others = [t for t in tests if t not in programs]
    return [run_program(t) for t in programs] + (run_pytest(others, more or []) if others else [])


# ---- verdicts -----------------------------------------------------------------------------------


def is_of(outcome: Outcome, test: str) -> bool:
    return outcome.test == test or outcome.test.startswith(test + "[")


def without(mutants: list[Mutant]) -> dict[str, Outcome]:
    """Every test once without a mutant: what speaks against using it."""
    tests = sorted({t for m in mutants for t in m.fails})
    for target in sorted({target_of(t) for t in tests}):
        if said := build(target):
            raise SystemExit("mutants: %s does not build:\n%s" % (target, said))
    outcomes, against = run_tests(tests), {}
    for test in tests:
        mine = [o for o in outcomes if is_of(o, test)]
        bad = [o for o in mine if o.state in ("failed", "odd")]
        if bad or not mine:
            against[test] = (bad or [Outcome(test, "odd", "there is no such test")])[0]
        elif all(o.state == "skipped" for o in mine):
            against[test] = mine[0]
    return against


def judge(m: Mutant, against: dict[str, Outcome]) -> str:
    for o in (against[t] for t in m.fails if t in against):
        return "skipped: " + o.said if o.state == "skipped" else "BROKEN: %s: %s" % (o.test, o.said)
    try:
        texts = m.applied(COPY)
    except (ValueError, OSError) as e:
        return "DOES NOT APPLY: %s" % e
    before = {file: (COPY / file).read_text() for file in texts}
    try:
        for file, text in texts.items():
            (COPY / file).write_text(text)
        for target in sorted({target_of(t) for t in m.fails}):
            if said := build(target):
                return "DOES NOT BUILD: " + said
        outcomes = run_tests(list(m.fails), ["-x"])
    finally:
        for file, text in before.items():
            (COPY / file).write_text(text)
    for state, verdict in (("failed", "caught by {0.test}"), ("odd", "UNCLEAR: {0.test}: {0.said}")):
        for o in outcomes:
            if o.state == state:
                return verdict.format(o)
    return "SURVIVED " + " ".join(m.fails)


def main(cases: list[str]) -> int:
    begun = time.monotonic()
    chosen = {c.lstrip("0") for c in cases}
    mutants = [m for m in all_mutants() if not chosen or chosen & {c.lstrip("0") for c in m.cases}]
    if not mutants:
        raise SystemExit("mutants: no entry for " + " ".join(cases))
    COPY.mkdir(parents=True, exist_ok=True)
    with open(COPY / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("mutants: another run has %s" % COPY)
        return run(mutants, begun)


def run(mutants: list[Mutant], begun: float) -> int:
    refresh()
    against = without(mutants)
    verdicts = []
    for m in mutants:
        verdicts.append(judge(m, against))
        print("%-5s  %s: %s" % (",".join(m.cases), m.what, verdicts[-1]), flush=True)
    caught = sum(v.startswith("caught") for v in verdicts)
    skipped = sum(v.startswith("skipped") for v in verdicts)
    survived = len(mutants) - caught - skipped
    print("%d mutants: %d caught, %d survived%s, in %d s" % (
        len(mutants), caught, survived, ", %d skipped" % skipped if skipped else "",
        time.monotonic() - begun))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
