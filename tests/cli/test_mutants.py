# SPDX-License-Identifier: Apache-2.0
"""The list of mutants keeps up with the source; `make mutants` runs it."""

import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests"))
import mutants  # noqa: E402

CASES = 48  # of the security list


def test_every_mutant_applies_to_the_source():
    for m in mutants.all_mutants():
        m.applied(ROOT)  # says which lines are not there, or more than once


def test_every_mutant_names_a_test_that_there_is():
    for m in mutants.all_mutants():
        for test in m.fails:
            kind, _, name = test.partition("/")
            if kind in ("unit", "fuzz"):
                assert (ROOT / "tests" / kind / (name + ("_fuzz.c" if kind == "fuzz" else ".c"))).exists(), m.at
                continue
            file, _, name = test.partition("::")
            text = (ROOT / "tests" / "cli" / file).read_text()
            assert "\ndef %s(" % name.partition("[")[0] in text, (m.at, test)


def test_every_case_of_the_security_list_has_a_mutant():
    have = {case for m in mutants.all_mutants() for case in m.cases}
    assert have == {*map(str, range(1, CASES + 1)), mutants.MORE}
