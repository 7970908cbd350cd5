#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the project with one deliberate fault at a time, and sees whether the tests notice.

    tests/mutants/run.py [NAME…]
    tests/mutants/run.py --check    whether each patch still fits; nothing is built

Each NAME.patch says in its head what is wrong, what to build, and which tests should fail. The work is done in a copy of
the committed tree (MUTANTS_DIR, default: a temporary directory), so that the faults never touch this one. Prints a table;
exits with 0 if all were killed and the tests pass without a fault."""
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TIME_LIMIT = 600


def head(patch):
    """The lines before the diff, as a dictionary."""
    lines = patch.read_text().split("\n\n", 1)[0].splitlines()
    return dict(line.split(": ", 1) for line in lines)


def copy_of_tree(target):
    target.mkdir(parents=True, exist_ok=True)
    archive = subprocess.Popen(["git", "-C", str(ROOT), "archive", "HEAD"], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(target)], stdin=archive.stdout, check=True)
    assert archive.wait() == 0


def run(command, cwd, **options):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)


class Tree:
    def __init__(self, directory):
        self.directory = directory
        self.build_directory = directory / "build" / "mutants"
        copy_of_tree(directory)
        configured = run(["cmake", "--preset", "release", "-B", str(self.build_directory)], directory)
        assert configured.returncode == 0, configured.stderr

    def build(self, targets):
        command = ["cmake", "--build", str(self.build_directory), "-j", str(os.cpu_count()), "--target", *targets.split()]
        built = run(command, self.directory)
        assert built.returncode == 0, built.stdout[-3000:]

    def passes(self, test):
        """Whether the test passes; a hang is a failure."""
        program, *arguments = shlex.split(test)
        environment = os.environ | {"CONND_BUILD": str(self.build_directory), "PYTHONDONTWRITEBYTECODE": "1"}
        if program == "pytest":
            command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-x", *arguments]
        else:
            command = [str(self.build_directory / program), *arguments]
        try:
            return run(command, self.directory, env=environment, timeout=TIME_LIMIT).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def patch(self, patch, *options):
        done = run(["patch", "-p1", "--no-backup-if-mismatch", *options, "-i", str(patch)], self.directory)
        assert done.returncode == 0, f"{patch.name}: {done.stdout}{done.stderr}"


def check(patches):
    """A fault that does not fit any more tests nothing."""
    bad = 0
    for patch in patches:
        assert {"Fault", "Build", "Run"} <= head(patch).keys(), patch.name
        done = run(["patch", "-p1", "--dry-run", "--force", "-i", str(patch)], ROOT)
        if done.returncode != 0:
            print(f"{patch.name} does not fit: {done.stdout}{done.stderr}")
            bad += 1
    print(f"{len(patches)} faults, {bad} do not fit")
    return 1 if bad else 0


def main(names):
    if names == ["--check"]:
        return check(sorted(HERE.glob("*.patch")))
    patches = sorted(p for p in HERE.glob("*.patch") if not names or p.stem in names)
    survivors = 0
    with tempfile.TemporaryDirectory() as scratch:
        tree = Tree(pathlib.Path(os.environ.get("MUTANTS_DIR") or scratch))
        heads = {patch: head(patch) for patch in patches}
        # A test that fails anyway kills nothing.
        for build, test in sorted({(h["Build"], h["Run"]) for h in heads.values()}):
            tree.build(build)
            assert tree.passes(test), f"fails without any fault: {test}"
        print(f"{'fault':28} {'verdict':9} {'s':>4}  by", flush=True)
        for patch, about in heads.items():
            began = time.monotonic()
            tree.patch(patch)
            tree.build(about["Build"])
            killed = not tree.passes(about["Run"])
            tree.patch(patch, "-R")
            survivors += not killed
            verdict = "killed" if killed else "SURVIVED"
            print(f"{patch.stem:28} {verdict:9} {time.monotonic() - began:4.0f}  {about['Run']}", flush=True)
    print(f"{len(patches)} faults, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
