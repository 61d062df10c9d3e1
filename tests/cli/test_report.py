# SPDX-License-Identifier: Apache-2.0
"""Reports: pages that people open, in the browser they open them with."""

import html.parser
import json
import os
import re
import shutil
import subprocess

import pytest

import chromium
from conftest import sh, wait_until

VOID = {"meta", "br", "hr", "img", "input", "link"}
SHAPES = {"rect", "circle", "path"}
ROC = [
    {"confidenceThreshold": 1 - i / 20, "recall": (i / 20) ** 0.3, "falsePositiveRate": i / 20}
    for i in range(21)
]
MATRIX = {
    "annotationSpecs": [{"displayName": "cat"}, {"displayName": "<b>dog</b>"}],
    "rows": [{"row": [48, 2]}, {"row": [5, 45]}],
}
SLICES = {
    "evaluationSlices": [
        {"slice": "age:young", "sliceClassificationMetrics": {"confidenceMetrics": ROC}},
        {"slice": "age:old", "sliceClassificationMetrics": {"confusionMatrix": MATRIX}},
    ]
}
HOSTILE = (
    "<h1>profile</h1><script>document.title='HACKED';top.document.title='HACKED'</script>"
    "<img src='http://tracker.example/x.png'><iframe src='http://tracker.example/'></iframe>"
    "<link rel=stylesheet href='http://tracker.example/x.css'>"
    "<form action='http://tracker.example/'><input name=a></form>"
)
CARD = "# Card\n\nTrained on **5,000** rows.\n\n| m | v |\n|---|---|\n| f1 | 0.9 |\n\n<script>x</script>"


def step(script="", metadata=None, files=None):
    """A shell task that writes output files, and metadata as an executor would."""
    args = []
    for name, text in (files or {}).items():
        args.append("{{$.outputs.artifacts['%s'].path}}" % name)
        script += '\nmkdir -p "$(dirname "$%d")"; cat >"$%d" <<\'EOF\'\n%s\nEOF' % (
            len(args), len(args), text)  # fmt: skip
    if metadata:
        doc = {"artifacts": {k: {"artifacts": [{"name": k, "metadata": m}]}
                             for k, m in metadata.items()}}  # fmt: skip
        args.append("{{$.outputs.output_file}}")
        script += '\nmkdir -p "$(dirname "$%d")"; cat >"$%d" <<\'EOF\'\n%s\nEOF' % (
            len(args), len(args), json.dumps(doc))  # fmt: skip
    return sh(script, "step", *args)


def tasks(train="echo training"):
    return {
        "load": {
            **step("printf '\\033[32mok\\033[0m 5000 rows\\n'",
                   {"data": {"rows": 5000, "split": "a <b>"}}, {"data": "a,b"}),
            "art_out": {"data": "system.Dataset"},
        },
        "profile": {
            **step(files={"page": HOSTILE}),
            "art_in": {"data": "load.data"}, "art_out": {"page": "system.HTML"},
        },
        "train": {
            **step(train, {"model": {"framework": "none"}}, {"model": "weights"}),
            "art_in": {"data": "load.data"}, "art_out": {"model": "system.Model"},
        },
        "evaluate": {
            **step("echo evaluating",
                   {"m": {"f1": 0.912345678, "accuracy": 0.93},
                    "c": {"confidenceMetrics": ROC, "confusionMatrix": MATRIX}, "s": SLICES},
                   {"card": CARD}),
            "art_in": {"model": "train.model"},
            "art_out": {"m": "system.Metrics", "c": "system.ClassificationMetrics",
                        "s": "system.SlicedClassificationMetrics", "card": "system.Markdown"},
        },
    }  # fmt: skip


class Checker(html.parser.HTMLParser):
    """Tags balance, nothing is loaded, nothing is a script."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert tag in SHAPES, tag

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-5:], self.getpos())
        self.open.pop()

    def handle_data(self, data):
        self.text += data


def check(page: str) -> Checker:
    c = Checker()
    c.feed(page)
    c.close()
    assert not c.open
    for tag, attrs in c.tags:
        assert tag not in ("script", "link", "img", "object", "embed", "base", "form"), tag
        assert not any(a.startswith("on") for a in attrs), attrs
        assert not any(a in ("src", "data", "action", "xlink:href") for a in attrs), attrs
        if tag == "iframe":
            assert attrs["sandbox"] in ("", None)
        if tag == "a":
            assert re.match(r"#|https?:|mailto:", attrs["href"]), attrs
    policy = [a["content"] for t, a in c.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policy) == 1 and policy[0].startswith("default-src 'none'")
    assert "script" not in policy[0] and "http" not in policy[0]
    return c


@pytest.fixture(scope="module")
def reported(template, tmp_path_factory):
    """A home with one good and one failed run, and the pages of both."""
    from conftest import Dugout, pipeline

    here = tmp_path_factory.mktemp("report")
    shutil.copytree(template, here / "home", symlinks=True)
    d = Dugout(here / "home")
    fail = (
        "for i in $(seq 40); do echo epoch $i; done; printf ' 0%\\r100%\\n';"
        "echo 'ValueError: <NaN> in column 3'; printf '\\377\\033[31m\\n'; exit 3"
    )
    inputs = {"parameters": {"note": {"parameterType": "STRING", "isOptional": True,
                                      "defaultValue": "<img src=x onerror=alert(1)>"}}}  # fmt: skip
    (here / "good.json").write_text(pipeline(tasks(), name="good", inputs=inputs))
    (here / "bad.json").write_text(pipeline(tasks(fail), name="bad"))
    d.ok("run", here / "good.json", "--name", "good-run")
    assert d("run", here / "bad.json", "--name", "bad-run").rc == 1
    for name in ("good", "bad"):
        d.ok("report", name + "-run", "-o", here / (name + ".html"))
    d.pages = here
    return d


@pytest.fixture(scope="module")
def browser():
    if not chromium.find():
        pytest.skip("chromium is not installed")
    b = chromium.Chromium()
    yield b
    b.close()


def test_the_page_is_well_formed_and_loads_nothing(reported):
    c = check((reported.pages / "good.html").read_text())
    assert "good-run" in c.text and "succeeded" in c.text
    for word in ("0.912346", "AUC", "Confusion matrix", "slice age:young", "slice age:old",
                 "<img src=x onerror=alert(1)>", "5000", "a <b>", "<b>dog</b>"):  # fmt: skip
        assert word in c.text, word
    assert "\x1b" not in c.text


def test_the_page_of_a_failed_run_says_why_and_what_next(reported):
    c = check((reported.pages / "bad.html").read_text())
    tail = c.text[c.text.index("epoch 24") : c.text.index("Next, after")]
    assert "epoch 23" not in tail
    assert "ValueError: <NaN> in column 3" in tail and "100%" in tail and " 0%" not in tail
    assert "dugout resume bad-run" in c.text and "dugout logs bad-run/train" in c.text
    assert "exit code 3" in c.text


def test_a_page_goes_to_standard_output_too(reported):
    r = reported.ok("report", "good-run")
    assert r.out.startswith("<!doctype html>")
    assert reported("report", "no-such-run", "-o", "/dev/null").rc == 3
    assert reported("report", "good-run", "-o", "/no/such/dir/x.html").rc != 0


def test_the_first_screen_answers_without_javascript(reported, browser):
    page = browser.page(reported.pages / "bad.html", 1280, 800, scripts=False)
    for selector in ("h1", ".badge", ".cause", "pre.tail", ".command", ".command + .command"):
        left, top, right, bottom = page.box(selector)
        assert 0 <= top < bottom <= 800 and 0 <= left < right <= 1280, selector
    assert page.eval("document.querySelector('.cause').innerText").startswith("Task train: exit")


def test_the_browser_asks_for_nothing_and_runs_nothing(reported, browser):
    page = browser.page(reported.pages / "good.html")
    # the frame is there, and held; what is said of it comes from other processes, when it comes
    wait_until(lambda: "http://tracker.example/x.css" in page.requests()[1])
    wait_until(lambda: any("Blocked script execution" in m for m in page.messages()))
    assert page.requests()[0] == []
    assert page.eval("document.title").startswith("good-run")
    assert page.eval("document.scripts.length") == 0
    assert page.eval("document.querySelectorAll('iframe').length") == 1


def test_nothing_is_wider_than_the_page(reported, browser):
    for width in (1280, 700):
        page = browser.page(reported.pages / "good.html", width, 800)
        assert page.eval("document.documentElement.scrollWidth") <= width


def test_boxes_hold_their_words(reported, browser):
    page = browser.page(reported.pages / "good.html")
    over = page.eval(
        "[...document.querySelectorAll('.picture g.box')].filter(g => {"
        " const r = g.querySelector('rect').getBoundingClientRect();"
        " return [...g.querySelectorAll('text')].some(t =>"
        "  t.getBoundingClientRect().right > r.right - 2); }).map(g => g.textContent)"
    )
    assert over == []


def test_dark_is_dark_and_light_is_light(reported, browser):
    def brightness(dark, selector):
        page = browser.page(reported.pages / "good.html", dark=dark)
        rgb = page.eval("getComputedStyle(document.querySelector('%s')).backgroundColor" % selector)
        return sum(map(int, re.findall(r"\d+", rgb)[:3]))

    assert brightness(False, "section") > 700 and brightness(True, "section") < 200


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="pdftotext is not installed")
def test_it_reads_well_on_paper(reported, browser, tmp_path):
    page = browser.page(reported.pages / "bad.html", dark=True)
    page.pdf(tmp_path / "bad.pdf")
    first = subprocess.run(
        ["pdftotext", "-layout", "-l", "1", tmp_path / "bad.pdf", "-"],
        capture_output=True, text=True, check=True).stdout  # fmt: skip
    for word in ("bad-run", "failed", "exit code 3", "ValueError", "dugout resume bad-run"):
        assert word in first, word


def test_a_model_card_is_rendered(reported, browser):
    page = browser.page(reported.pages / "good.html")
    assert page.eval("document.querySelector('.markdown h4').innerText") == "Card"
    assert page.eval("document.querySelector('.markdown td').innerText") == "f1"
    assert "<script>x</script>" in page.eval("document.querySelector('.markdown').innerText")


# ---- the audit page of a model ----


@pytest.fixture(scope="module")
def audited(reported):
    """The good run's model was promoted, and another one before it."""
    r = reported
    model = r.ok("artifact", "show", "good-run/train:model", "--json").json["id"]
    other = r.ok("artifact", "show", "good-run/load:data", "--json").json["id"]
    r.ok("tag", "a%d" % other, "churn:prod")
    r.ok("tag", "a%d" % model, "churn:prod", "--move", "-m", "beats <b>v1</b> on recall")
    r.ok("report", "churn:prod", "-o", r.pages / "audit.html")
    return r, model, other


def test_the_audit_page_answers_the_auditor(audited):
    r, model, other = audited
    c = check((r.pages / "audit.html").read_text())
    shown = r.ok("show", "good-run", "--json").json
    train = next(t for t in shown["tasks"] if t["path"] == "train")
    data = train["inputs"]["artifacts"]["data"][0]
    for word in (
        "audit of a Model", "churn:prod", "Made by task train of run good-run", "1 dataset",
        "trained on 5000 rows", "training, input data", data["digest"],
        train["outputs"]["artifacts"]["model"][0]["digest"], train["image"], shown["run_id"],
        shown["spec_digest"], "0.912346", "moved here from a%d" % other, shown["host"],
        "beats <b>v1</b> on recall", "code digest", "component",
        "<img src=x onerror=alert(1)>", "reviewed by",
    ):  # fmt: skip
        assert word in c.text, word


def test_the_audit_page_takes_two_sheets(audited, browser, tmp_path):
    r, _, _ = audited
    page = browser.page(r.pages / "audit.html")
    assert page.requests() == ([], []) and page.messages() == []
    page.pdf(tmp_path / "audit.pdf")
    if not shutil.which("pdfinfo"):
        pytest.skip("pdfinfo is not installed")
    info = subprocess.run(["pdfinfo", tmp_path / "audit.pdf"], capture_output=True, text=True)
    assert re.search(r"^Pages: +2$", info.stdout, re.M), info.stdout
    text = [
        subprocess.run(["pdftotext", "-layout", "-f", n, "-l", n, tmp_path / "audit.pdf", "-"],
                       capture_output=True, text=True).stdout
        for n in "12"
    ]  # fmt: skip
    assert "How it was made" in text[0] and "Parameters" in text[0]
    assert "Who promoted it" in text[1] and "approved by" in text[1]


def test_a_model_from_outside_has_an_audit_page_too(audited, tmp_path):
    r, _, _ = audited
    (tmp_path / "bought.bin").write_text("weights")
    r.ok("artifact", "import", tmp_path / "bought.bin", "--type", "Model")
    page = r.ok("report", tmp_path / "bought.bin").out
    c = check(page)
    assert "It came from outside on" in c.text and str(tmp_path / "bought.bin") in c.text
    assert "No tag ever named it." in c.text and "No task that read it" in c.text


def test_what_was_revoked_is_said_first(audited):
    r, model, other = audited
    r.ok("artifact", "revoke", "a%d" % other, "-m", "mislabelled <i>rows</i>")
    page = r.ok("report", "a%d" % model).out
    r.ok("artifact", "revoke", "a%d" % other, "--undo")
    c = check(page)
    assert "Revoked: it is, or was made with, a%d" % other in c.text
    assert c.text.index("mislabelled <i>rows</i>") < c.text.index("Made by task")
    assert "Revoked" not in check(r.ok("report", "a%d" % model).out).text


def test_what_could_be_a_run_or_a_model_is_asked_for(audited, write):
    r, model, _ = audited
    r.ok("tag", "a%d" % model, "good-run")
    e = r("report", "good-run", "-o", "/dev/null")
    assert e.rc == 2 and "a%d" % model in e.err
    r.ok("tag", "--delete", "good-run")


if os.environ.get("REPORT_KEEP"):

    def test_keep_pages_and_pictures(reported, browser):
        """For people who want to see them: REPORT_KEEP=DIR pytest ..."""
        keep = os.environ["REPORT_KEEP"]
        for name in ("good", "bad"):
            shutil.copy(reported.pages / (name + ".html"), keep)
            for dark in (False, True):
                page = browser.page(reported.pages / (name + ".html"), 1280, 1600, dark=dark)
                page.screenshot("%s/%s-%s.png" % (keep, name, "dark" if dark else "light"))
            page.pdf("%s/%s.pdf" % (keep, name))
