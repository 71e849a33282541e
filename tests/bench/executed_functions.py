"""Which functions a common launch calls: what the bundle of a launch loads early (`launcher/cli/executed.txt`).

    tests/bench/executed_functions.py [--prefix INSTALLED] [--write]

Launches `/bin/true` with everything remembered, as root and as an ordinary user, in every process of it (the launcher,
the sandbox's init, the job before its image), and prints how many functions were called and what differs from the list;
with --write the list is replaced. To be run as root, so that both kinds of launch are in it.
"""

from __future__ import annotations

import argparse
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import bench_launch  # type: ignore[import-not-found]  # noqa: E402  beside this file

TRACED = "--traced"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", help="an installation to look at instead of a new one")
    parser.add_argument("--write", action="store_true", help="replace the list")
    arguments = parser.parse_args()
    top = tempfile.mkdtemp(prefix="mlsandbox-executed-")
    os.chmod(top, 0o755)
    try:
        prefix = arguments.prefix or bench_launch._install(f"{top}/prefix")
        found = sorted({name for case in _cases(top, prefix) for name in _traced(case, prefix, top)})
    finally:
        shutil.rmtree(top)
    return _report(found, write=arguments.write)


def _cases(top: str, prefix: str) -> list[bench_launch.Case]:
    cases = [case for case in bench_launch._cases(top, prefix) if "launch" in case.name]
    bench_launch._warm(cases, top)
    time.sleep(0.2)
    return cases


def _traced(case: bench_launch.Case, prefix: str, cwd: str) -> list[str]:
    words = [f"{prefix}/bin/python3", "-IS", os.path.abspath(__file__), TRACED, prefix, *case.argv[1:]]
    uid, gid = (None, None) if case.account.pw_uid == os.geteuid() else (case.account.pw_uid, case.account.pw_gid)
    done = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=case.environment, cwd=cwd,
        user=uid, group=gid, extra_groups=None if uid is None else [],
    )  # fmt: skip
    return done.stdout.split()


def _report(found: list[str], *, write: bool) -> int:
    path = os.path.join(bench_launch.ROOT, "launcher", "cli", "executed.txt")
    with open(path, encoding="ascii") as file:
        known = file.read().split()
    print(f"{len(found)} functions are called")
    for sign, names in (("+", set(found) - set(known)), ("-", set(known) - set(found))):
        for name in sorted(names):
            print(sign, name)
    if write:
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(found) + "\n")
    return 0 if write or set(found) <= set(known) else 1


# -- in an interpreter of the installation, which makes the launch -----------------------------------------------------


def traced(prefix: str, words: list[str]) -> None:
    """Makes one launch and prints MODULE:QUALIFIED.NAME of what it called."""
    sys.path.insert(0, f"{prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages")
    from launcher.cli import bundle, bundle_writer

    imported: set[tuple[str, str]] = set()
    sys.setprofile(lambda frame, _event, _argument: imported.add(_key(frame)))
    modules = bundle_writer.modules_of_a_launch()[0]
    sys.setprofile(None)
    names = [
        (str(sys.modules[module].__file__), module, qualified)
        for module in modules
        for qualified in bundle_writer.functions_of(bundle_writer.compiled(*bundle_writer.tree_of(module)))
    ]
    called = mmap.mmap(-1, len(names))  # shared by all processes of the launch
    pid = os.fork()
    if pid == 0:
        _launch(bundle, {(file, qualified): at for at, (file, _module, qualified) in enumerate(names)}, called, words)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise SystemExit(f"the launch ended with status {status}")
    found = [row for at, row in enumerate(names) if called[at] or (row[0], row[2]) in imported]
    print(*[f"{module}:{qualified}" for _file, module, qualified in found], sep="\n")


def _key(frame: Any) -> tuple[str, str]:
    return frame.f_code.co_filename, frame.f_code.co_qualname


def _launch(bundle: object, numbers: dict[tuple[str, str], int], called: mmap.mmap, words: list[str]) -> None:
    def profile(frame: object, event: str, _argument: object) -> None:
        at = numbers.get(_key(frame)) if event == "call" else None
        if at is not None:
            called[at] = 1

    os.dup2(2, 1)
    assert bundle.load()  # type: ignore[attr-defined]  # what is remembered is only believed with it
    sys.setprofile(profile)
    from launcher.cli.main import main as launch

    os._exit(launch(words))


if __name__ == "__main__":
    if sys.argv[1:2] == [TRACED]:
        traced(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
