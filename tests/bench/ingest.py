# SPDX-License-Identifier: Apache-2.0
"""Outputs into the store beside others: one large file, many small ones, the same again.

The row `publish` of bench.py: BENCH_GIB (4) GiB in one file, BENCH_FILES (100,000) files of 4 KiB,
BENCH_TIMES (3) turns. Printed, never asserted. Each program gets a fresh copy of the input, made and
synced before the clock starts; the page cache is warm, as it is when a task has just written. "again"
is another fresh copy with the same content. Ratios are to hashing with the processor's SHA
instructions and `sync`: what must be done to know the bytes and have them on disk.
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import time

BENCH = pathlib.Path(__file__).resolve().parents[2] / "build" / "ingest_bench"
BORG = {"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
HASH = "openssl dgst -sha256" if shutil.which("openssl") else "sha256sum"
BASE = "%s, sync" % HASH.split()[0]


def sh(script, *args):
    return ["sh", "-c", script, *map(str, args)]


def fresh(src, to):
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-r", src, to], check=True)
    subprocess.run(["sync", "-f", to], check=True)
    subprocess.run(sh('find "$0" -type f -print0 | xargs -0 cat >/dev/null', to), check=True)


def inodes(path):
    """Files and directories below path: each inode once."""
    return len({os.lstat(os.path.join(base, name)).st_ino
                for base, _, files in os.walk(path) for name in [".", *files]})


class Turns:
    """Seconds of each row, in the order in which the rows first came."""

    def __init__(self, work):
        self.work, self.took, self.failed = work, {}, {}

    def once(self, name, argv, env=None):
        """What it printed, or None when it failed."""
        begun = time.monotonic()
        done = subprocess.run(list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "HOME": str(self.work), **(env or {})})
        if done.returncode:
            self.failed[name] = (done.stderr.strip().splitlines() or ["?"])[-1]
            return None
        self.took.setdefault(name, []).append(time.monotonic() - begun)
        return done.stdout

    def tell(self):
        base = statistics.median(self.took[BASE])
        for name, took in self.took.items():
            m = statistics.median(took)
            print("  %-36s %8.2f s   ratio %5.2f" % (name, m, m / base))
        for name, why in self.failed.items():
            print("  %-36s not here: %s" % (name, why[:90]))


# ---- others: how one begins, and what a turn is; `src` is the input, gone or not afterwards ----


def ostree(turns, src, turn):
    repo = turns.work / "ostree"
    if turn == "":
        subprocess.run(["ostree", "init", "--repo", repo, "--mode=bare"], check=True)
    return ["ostree", "--repo=%s" % repo, "commit", "-b", "x", "-s", "x" + turn, "--tree=dir=%s" % src], None


def borg(turns, src, turn):
    repo, env = turns.work / "borg", {"BORG_BASE_DIR": str(turns.work), **BORG}
    if turn == "":
        subprocess.run(["borg", "init", "-e", "none", repo], check=True, env={**os.environ, **env})
    return ["borg", "create", "-C", "none", "%s::x%s" % (repo, turn.replace(", ", "-")), src], env


def annex(turns, src, turn):
    repo = turns.work / "annex"
    if turn == "":
        subprocess.run(sh('git init -q "$0" && cd "$0" && git config user.name b && git config user.email b@b && '
                          "git annex init -q", repo), check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "HOME": str(turns.work)})
    to = repo / ("in" + turn.replace(", ", "-"))
    src.rename(to)
    return ["git", "-C", repo, "annex", "add", "-q", to], None


# git annex takes some 8 ms a file: a directory of more than a few is left to the others
OTHERS = [("ostree", "ostree commit", ostree, 1 << 30), ("borg", "borg create", borg, 1 << 30),
          ("git-annex", "git annex add", annex, 5000)]


def others(turns, src, n_files):
    for program, name, command, most in OTHERS:
        if not shutil.which(program):
            turns.failed[name] = "%s is not installed" % program
            continue
        if n_files > most:
            turns.failed[name] = "left out over %d files" % most
            continue
        for turn in ("", ", again"):
            fresh(src, turns.work / "in")
            argv, env = command(turns, turns.work / "in", turn)
            turns.once(name + turn, argv, env)


def large_file(turns, src):
    work, given = turns.work, turns.work / "in" / "f"
    fresh(src, work / "in")
    turns.once(BASE, sh('touch "$0" && %s "$0" && sync "$0"' % HASH, given))
    turns.once("sha256sum", ["sha256sum", given])
    turns.once("cp, sync", sh('cp "$0" "$1" && sync "$1"', given, work / "copy"))
    (work / "copy").unlink()
    for turn in ("", ", again"):
        fresh(src, work / "in")
        turns.once("dugout" + turn, [BENCH, "file", work / "home", given])


def wait_for_trash(trash):
    """What a step leaves to be removed when its result is out must not fall into the next row."""
    begun = time.monotonic()
    while trash.exists() and any(trash.iterdir()) and time.monotonic() - begun < 300:
        time.sleep(0.1)


def small_files(turns, src):
    work, given = turns.work, turns.work / "in"
    fresh(src, given)
    turns.once(BASE, sh('find "$0" -type f -print0 | xargs -0 %s >/dev/null && sync -f "$0"' % HASH, given))
    turns.once("cp -r, sync", sh('cp -r "$0" "$1" && sync -f "$1"', given, work / "copy"))
    shutil.rmtree(work / "copy")
    for turn in ("", ", again"):
        fresh(src, given)
        said = turns.once("dugout" + turn, [BENCH, "dir", work / "home", given])
        wait_for_trash(work / "home" / "trash")
    if said:
        turns.once("dugout, packing (later, by gc)", [BENCH, "pack", work / "home", said.split()[2]])


def clear(work):
    for name in ("in", "home", "ostree", "borg", "annex"):
        subprocess.run(["chmod", "-R", "u+w", work / name], stderr=subprocess.DEVNULL)
        shutil.rmtree(work / name, ignore_errors=True)


def rows(work, what, src, ours, n_files):
    times = int(os.environ.get("BENCH_TIMES", "3"))
    turns, counts = Turns(work), {}
    for _ in range(times):
        ours(turns, src)
        others(turns, src, n_files)
        counts = {n: inodes(work / n) for n in ("home", "ostree", "borg", "annex") if (work / n).exists()}
        clear(work)
    print("\n%s (%d turns)" % (what, times))
    turns.tell()
    print("  inodes: " + ", ".join("%s %d" % x for x in counts.items()), flush=True)
    shutil.rmtree(src)


def main(work):
    gib, n = float(os.environ.get("BENCH_GIB", "4")), int(os.environ.get("BENCH_FILES", "100000"))
    work, src = work / "publish", work / "publish" / "src"
    if gib:
        src.mkdir(parents=True)
        with open(src / "f", "wb") as f:
            for _ in range(int(gib * 1024)):
                f.write(os.urandom(1 << 20))
        rows(work, "publish: one file of %g GiB" % gib, src, large_file, 1)
    for d in range(0, n, 1000):
        (src / str(d)).mkdir(parents=True)
        for i in range(d, min(n, d + 1000)):
            (src / str(d) / ("%d.bin" % i)).write_bytes(os.urandom(4096))
    if n:
        rows(work, "publish: %d files of 4 KiB" % n, src, small_files, n)
