"""scripts/abi-added-only accepts additions and finds every other change, in repositories made for it.

Usage: abi_history.py TOP
"""
import os
import shutil
import subprocess
import sys
import tempfile

import sources

script = os.path.join(os.path.realpath(sys.argv[1]), "scripts", "abi-added-only")
if shutil.which("git") is None:
    sources.skip("git is not installed")
environment = dict(os.environ, GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull,
                   GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@example.org", GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@example.org")
faults = []


class Repository:
    def __init__(self, folder):
        self.folder = folder
        self.git("init", "-q", "-b", "main")
        self.put("capi/abi/0001.abi", "first\n")
        self.put("src/a.cpp", "int a;\n")
        self.commit("freeze 0001")

    def git(self, *words):
        subprocess.run(["git", "-C", self.folder, *words], check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def put(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)


def check(name, expected, change, named=""):
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(folder)
        change(repository)
        run = subprocess.run([script, folder], capture_output=True, text=True, env=environment, check=False)
        if run.returncode != expected or named not in run.stdout:
            faults.append(f"{name}: exit {run.returncode}, expected {expected} with {named!r} in:\n{run.stdout}{run.stderr}")


def untouched(r):
    r.put("src/a.cpp", "int b;\n")
    r.commit("other work")


def added(r):
    r.put("capi/abi/0002.abi", "second\n")
    r.put("capi/abi/0002/host.c", "int main(void) { return 0; }\n")
    r.commit("freeze 0002")


def changed(r):
    r.put("capi/abi/0001.abi", "other\n")
    r.commit("change")


def changed_and_restored(r):
    changed(r)
    r.put("capi/abi/0001.abi", "first\n")
    r.commit("restore")


def deleted(r):
    os.remove(os.path.join(r.folder, "capi/abi/0001.abi"))
    r.commit("delete")


def renamed(r):
    r.git("mv", "capi/abi/0001.abi", "capi/abi/0009.abi")
    r.commit("rename")


def made_executable(r):
    os.chmod(os.path.join(r.folder, "capi/abi/0001.abi"), 0o755)
    r.commit("mode")


def uncommitted(r):
    r.put("capi/abi/0001.abi", "other\n")


def added_on_a_branch(r):
    r.git("checkout", "-q", "-b", "side")
    added(r)
    r.git("checkout", "-q", "main")
    untouched(r)
    r.git("merge", "-q", "--no-ff", "-m", "merge", "side")


def changed_while_merging(r):
    r.git("checkout", "-q", "-b", "side")
    r.put("src/b.cpp", "int b;\n")
    r.commit("side")
    r.git("checkout", "-q", "main")
    untouched(r)
    r.git("merge", "-q", "--no-ff", "--no-commit", "side")
    r.put("capi/abi/0001.abi", "other\n")
    r.commit("merge")


def without_git(r):
    shutil.rmtree(os.path.join(r.folder, ".git"))


check("nothing changed", 0, untouched)
check("added", 0, added, "3 files")
check("added on a branch", 0, added_on_a_branch, "3 files")
check("changed", 1, changed, "0001.abi")
check("changed and restored", 1, changed_and_restored, "0001.abi")
check("deleted", 1, deleted, "0001.abi")
check("renamed", 1, renamed, "0001.abi")
check("made executable", 1, made_executable, "0001.abi")
check("not committed", 1, uncommitted, "work tree")
check("changed while merging", 1, changed_while_merging, "0001.abi")
check("no git", 77, without_git, "SKIP")
with tempfile.TemporaryDirectory() as outer:
    whole = Repository(os.path.join(outer, "whole")) if not os.makedirs(os.path.join(outer, "whole")) else None
    added(whole)
    subprocess.run(["git", "clone", "-q", "--depth", "1", "file://" + whole.folder, os.path.join(outer, "shallow")], check=True, env=environment)
    shallow = subprocess.run([script, os.path.join(outer, "shallow")], capture_output=True, text=True, env=environment, check=False)
    if shallow.returncode != 77 or "shallow" not in shallow.stdout:
        faults.append(f"shallow: exit {shallow.returncode}\n{shallow.stdout}")

if faults:
    print("\n".join(faults))
    sys.exit(1)
print("additions pass, ten other histories do not")
