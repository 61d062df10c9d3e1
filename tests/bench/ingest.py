# SPDX-License-Identifier: Apache-2.0
"""Ingest beside others: one large file, a directory of small ones, the same again unchanged.

    tests/bench/ingest.py [GIB] [FILES] [DIR]

Defaults 4 GiB and 100,000 files of 4 KiB below DIR (/tmp). Printed, never asserted. Each tool gets its
own fresh copy of the input, made and synced before the clock starts; page cache warm, as it is when a
task has just written its output.
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "build" / "ingest_bench"
TIMES = int(os.environ.get("BENCH_TIMES", "3"))


def timed(argv):
    begun = time.monotonic()
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print("    failed: %s: %s" % (argv[0], done.stderr.strip()[-200:]))
        return None, ""
    return time.monotonic() - begun, done.stdout


def inodes(path):
    """Files and directories that are new when `path` is made: each inode once."""
    seen = set()
    for base, dirs, files in os.walk(path):
        for name in [".", *files]:
            seen.add(os.lstat(os.path.join(base, name)).st_ino)
    return len(seen)


def sh(script, *args):
    return ["sh", "-c", script, *map(str, args)]


def row(what, taken, base=None):
    taken = [t for t in taken if t is not None]
    if not taken:
        return None
    m = statistics.median(taken)
    print("  %-44s %8.2f s%s" % (what, m, "   %.2f x" % (m / base) if base else ""), flush=True)
    return m


def repos(work):
    ostree, borg = work / "ostree", work / "borg"
    for r in (ostree, borg):
        shutil.rmtree(r, ignore_errors=True)
    if shutil.which("ostree"):
        subprocess.run(["ostree", "init", "--repo", ostree, "--mode=bare"], check=True)
    if shutil.which("borg"):
        subprocess.run(["borg", "init", "-e", "none", borg], check=True, env={**os.environ, "BORG_BASE_DIR": str(work)})


def others(work, src, tag):
    """name -> command"""
    all_of_it = {
        "ostree commit": ["ostree", "--repo=%s" % (work / "ostree"), "commit", "-b", "x", "-s", tag, "--tree=dir=%s" % src],
        "borg create": ["env", "BORG_BASE_DIR=%s" % work, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes", "borg",
                        "create", "-C", "none", "%s::%s" % (work / "borg", tag), str(src)],
    }
    return {k: v for k, v in all_of_it.items() if shutil.which(k.split()[0])}


def fresh(src, to):
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-r", src, to], check=True)
    subprocess.run(["sync", "-f", to], check=True)
    subprocess.run(sh('find "$0" -type f -print0 | xargs -0 cat >/dev/null', to), check=True)


def large_file(work, gib):
    src, home = work / "src", work / "home"
    src.mkdir()
    with open(src / "f", "wb") as f:
        for _ in range(int(gib * 1024)):
            f.write(os.urandom(1 << 20))
    print("one file of %g GiB, median of %d" % (gib, TIMES))
    taken = {}
    for i in range(TIMES):
        shutil.rmtree(home, ignore_errors=True)
        fresh(src, work / "in")
        taken.setdefault("sha256sum + sync FILE", []).append(
            timed(sh('touch "$0" && sha256sum "$0" && sync "$0"', work / "in" / "f"))[0])
        took, _ = timed(sh('cp "$0" "$1" && sync "$1"', work / "in" / "f", work / "copy"))
        taken.setdefault("cp + sync FILE", []).append(took)
        os.unlink(work / "copy")
        taken.setdefault("dugout: adopt", []).append(timed([BENCH, "file", home, work / "in" / "f"])[0])
        fresh(src, work / "in")
        taken.setdefault("dugout: adopt, known already", []).append(timed([BENCH, "file", home, work / "in" / "f"])[0])
        repos(work)
        fresh(src, work / "in")
        for tag in ("one", "two"):
            for name, argv in others(work, work / "in", tag).items():
                key = name + (", again" if tag == "two" else "")
                taken.setdefault(key, []).append(timed(argv)[0])
    base = statistics.median(taken["sha256sum + sync FILE"])
    for name, t in taken.items():
        row(name, t, base)
    for d in ("src", "in", "home", "ostree", "borg"):
        shutil.rmtree(work / d, ignore_errors=True)


def small_files(work, n):
    src, home = work / "src", work / "home"
    for d in range(0, n, 1000):
        (src / str(d)).mkdir(parents=True)
        for i in range(d, min(n, d + 1000)):
            (src / str(d) / ("%d.bin" % i)).write_bytes(os.urandom(4096))
    print("%d files of 4 KiB, median of %d" % (n, TIMES))
    taken, counts = {}, {}
    for i in range(TIMES):
        shutil.rmtree(home, ignore_errors=True)
        fresh(src, work / "in")
        taken.setdefault("sha256sum of all + sync", []).append(
            timed(sh('find "$0" -type f -print0 | xargs -0 sha256sum >/dev/null && sync -f "$0"', work / "in"))[0])
        taken.setdefault("cp -r + sync", []).append(timed(sh('cp -r "$0" "$1" && sync -f "$1"', work / "in", work / "copy"))[0])
        shutil.rmtree(work / "copy")
        took, out = timed([BENCH, "dir", home, work / "in"])
        taken.setdefault("dugout: adopt", []).append(took)
        fresh(src, work / "in")
        taken.setdefault("dugout: adopt, known already", []).append(timed([BENCH, "dir", home, work / "in"])[0])
        took, _ = timed([BENCH, "pack", home, out.split()[2]])
        taken.setdefault("dugout: pack (later, by gc)", []).append(took)
        counts["dugout, packed"] = inodes(home)
        repos(work)
        fresh(src, work / "in")
        for tag in ("one", "two"):
            for name, argv in others(work, work / "in", tag).items():
                key = name + (", again" if tag == "two" else "")
                taken.setdefault(key, []).append(timed(argv)[0])
        for name in ("ostree", "borg"):
            if (work / name).exists():
                counts[name] = inodes(work / name)
    base = statistics.median(taken["sha256sum of all + sync"])
    for name, t in taken.items():
        row(name, t, base)
    print("  inodes: " + ", ".join("%s %d" % x for x in counts.items()))
    for d in ("src", "in", "home", "ostree", "borg"):
        shutil.rmtree(work / d, ignore_errors=True)


def main():
    gib = float(sys.argv[1]) if len(sys.argv) > 1 else 4
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 100000
    work = pathlib.Path(tempfile.mkdtemp(prefix="dugout-ingest-", dir=sys.argv[3] if len(sys.argv) > 3 else None))
    subprocess.run(["make", "-s", "-C", ROOT, "build/ingest_bench"], check=True)
    try:
        large_file(work, gib)
        small_files(work, n)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
