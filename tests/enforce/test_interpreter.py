"""The interpreter in the job's view: one below /usr stands where it was, another is moved, and finds its libpython."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import launcher
from launcher.enforce.interpreter import Interpreter, for_job
from launcher.enforce.job import Job
from launcher.enforce.namespace.spec import Identity

MOVED = "/opt/mlsandbox/python"


def job(environment: dict[str, str]) -> Job:
    made = Job("j", Identity("alice", 1000, 1000, ()), "", ())
    made.environment = environment
    return made


def test_the_systems_interpreter_stays_where_it_is() -> None:
    python = Interpreter("/usr/bin/python3", ("/usr/bin/python3",), ())
    made = job({})
    python.fill(made)
    assert (made.path, made.environment) == ("/usr/bin/python3", {})
    assert "LD_LIBRARY_PATH" not in python.arguments("launcher.runtime.main")[-1]


@pytest.mark.parametrize(("given", "seen"), [({}, "None"), ({"LD_LIBRARY_PATH": "/x:/y"}, "/x:/y")])
def test_a_moved_one_finds_its_library_and_the_program_does_not_see_how(given: dict[str, str], seen: str) -> None:
    python = Interpreter(f"{MOVED}/bin/python3", (), ())
    made = job(given)
    python.fill(made)
    assert made.environment["LD_LIBRARY_PATH"].split(":")[0] == f"{MOVED}/lib"
    # what stands before the import of ours, run by a real interpreter with that environment
    before = python.arguments("m")[-1].partition("import sys;")[0]
    code = f"{before}import os; print(os.environ.get('LD_LIBRARY_PATH'))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], env=made.environment, capture_output=True, text=True,
                          check=True, timeout=30)  # fmt: skip
    assert done.stdout.strip() == seen


def test_this_process_s_own() -> None:
    python = for_job(as_root=os.geteuid() == 0)
    executable = os.path.realpath(sys.executable)
    assert python.moved is not executable.startswith("/usr/")
    assert f"{os.path.dirname(launcher.__file__)} /opt/mlsandbox/lib/launcher ro" in python.mounts[0].describe()
