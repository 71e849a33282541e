"""What may be executed: images, argument lists, scripts and their interpreters.

Attacks 16, 17 and kernel-facts 3, 4: a copied program, memfd, ld.so by hand, an interpreter under a script's grant. The
races against the check are in tests/attack/test_e_races.py.
"""

from __future__ import annotations

import re

import pytest

from tests.sandboxed import Host

pytestmark = pytest.mark.kernel


def tool(host: Host, name: str) -> str:
    return host.write(f"tool/{name}", f"#!/bin/sh\necho {name} ran: $*\n", 0o755)


def test_argument_patterns(host: Host) -> None:
    host.policy({"sh": True, "cmd": ["id -u", "ls:*", ["cat", "a b"]]})
    ran = host.launch("sh", "-c", "id -u; id -g; ls -d /tmp; cat 'a b'; cat a b")
    assert len(ran.out.splitlines()) == 2, ran
    refused = [row["command"] for row in ran.result["refused_execs"]]
    assert refused == ["id -g", "cat a b"], ran
    denied = [(e["resource"], e["layer"], e["outcome"]) for e in host.audit() if e["event"] == "exec"]
    assert denied == [("id -g", "kernel", "DENIED"), ("cat a b", "kernel", "DENIED")]


def test_deny_wins_for_a_command(host: Host) -> None:
    host.policy({"sh": True, "cmd": ["*"]}, deny={"cmd": ["id -g:*"]})
    ran = host.launch("sh", "-c", "id -u >/dev/null && echo first; id -g; /usr/bin/env id -g; echo end")
    assert ran.out == "first\nend\n", ran


def test_the_loader_by_hand(host: Host) -> None:
    """Attack 17: ld.so runs any file that it can read."""
    host.policy({"sh": True, "cmd": ["cat"]})
    ran = host.launch("sh", "-c", "/lib64/ld-linux-x86-64.so.2 /usr/bin/cat /etc/hostname; echo status $?")
    assert ran.out.strip() == "status 137", ran
    assert "ld-linux" in ran.result["refused_execs"][0]["file"]


def test_a_copied_program_and_a_memory_file(host: Host) -> None:
    """Attacks 16 and 17."""
    host.policy({"py": True, "cmd": ["cat"]})
    code = """
import ctypes, os, shutil
shutil.copy('/usr/bin/cat', '/tmp/cat'); os.chmod('/tmp/cat', 0o755)
try: os.execv('/tmp/cat', ['cat', '/etc/hostname'])
except OSError as error: print('copy', error.errno)
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.syscall(319, b'x', 0)
print('memfd', fd, ctypes.get_errno())
pid = os.fork()
if pid == 0:
    loader = '/lib64/ld-linux-x86-64.so.2'
    os.execv(loader, [loader, '/tmp/cat', '/etc/hostname'])
print('loader', os.waitpid(pid, 0)[1])
"""
    ran = host.python(code)
    assert ran.out.splitlines()[0] == "copy 13", ran
    assert re.fullmatch(r"memfd -1 \d+", ran.out.splitlines()[1]), ran
    assert ran.out.splitlines()[2] == "loader 9", ran


def test_a_script_does_not_grant_its_interpreter(host: Host) -> None:
    host.write("tool/hello", "#!/usr/bin/python3\nimport sys\nprint('hello', sys.argv[1:])\n", 0o755)
    host.policy({"sh": True, "cmd": [f"{host.workspace}/tool/hello"]})
    ran = host.launch("sh", "-c", "tool/hello a b; python3 -c 'print(1)'; python3 /tmp/x; echo end")
    assert ran.out == "hello ['a', 'b']\nend\n", ran
    assert len(ran.result["refused_execs"]) == 2


def test_a_script_through_env(host: Host) -> None:
    host.write("tool/hello", "#!/usr/bin/env python3\nprint('hello')\n", 0o755)
    host.policy({"sh": True, "cmd": [f"{host.workspace}/tool/*"]})
    ran = host.launch("sh", "-c", "tool/hello; env echo no; echo end")
    assert ran.out == "hello\nend\n", ran


def test_a_script_that_the_job_can_exchange_is_not_trusted(host: Host) -> None:
    """The interpreter opens the script by name after the check: a name the job can change must not count."""
    host.policy({"sh": True, "cmd": ["/tmp/x.py"]})
    ran = host.launch("sh", "-c", "printf '#!/usr/bin/python3\\nprint(1)\\n' > /tmp/x.py; python3 /tmp/x.py; echo end")
    assert ran.out == "end\n", ran


EVIL = "#!/usr/bin/python3\nprint('evil')\n"


def granted_script(host: Host, *programs: str) -> str:
    path = host.write("tool/hello", "#!/usr/bin/python3\nprint('hello')\n", 0o755)
    host.policy({"sh": True, "cmd": [path, *programs]})
    return path


def test_a_script_by_another_way_to_its_name(host: Host) -> None:
    """`/tmp/link/../../WORK/script` is the granted script in the text, and another file for the kernel."""
    path = granted_script(host, "mkdir", "ln")
    elsewhere = f"/tmp/a{path}"
    make = f'mkdir -p /tmp/a/b/c {elsewhere.rpartition("/")[0]}; ln -s /tmp/a/b/c /tmp/link; echo "$1" > {elsewhere}'
    ran = host.launch(
        "sh", "-c", f"{make}; python3 /tmp/link/../..{path}; cd tool; ../tool/hello; ./hello; echo end", "sh", EVIL
    )
    assert ran.out == "hello\nhello\nend\n", ran
    ran = host.launch("sh", "-c", f"{make}; cd /tmp/a/b; python3 ..{path}; python3 ../..{path}; echo end", "sh", EVIL)
    assert ran.out == "end\n", ran


def test_a_working_directory_that_another_process_changes(host: Host) -> None:
    """clone(CLONE_FS): after the exec was judged, a sibling moves the working directory under the relative name."""
    granted_script(host)
    host.policy({"py": True, "cmd": [f"{host.workspace}/tool/hello"]})
    code = "import ctypes; l = ctypes.CDLL(None, use_errno=True); print(l.syscall(56, 0x200 | 17, 0, 0, 0, 0), ctypes.get_errno())"
    assert host.python(code).out == "-1 1\n"


def test_programs_of_the_jobs_own_tree(host: Host) -> None:
    path = host.write("tool/own", b"", 0o755)
    with open("/usr/bin/true", "rb") as file:
        host.write("tool/own", file.read(), 0o755)
    host.policy({"sh": True, "cmd": [path], "file": [{"patterns": ["**"], "operations": ["read"]}]})
    assert host.launch("sh", "-c", "tool/own && echo ran").out == "ran\n"


def test_every_program_in_view_is_also_what_the_job_built(host: Host) -> None:
    """`cmd: "*"` for builds and tests: own scripts, programs of the checkout, and what was compiled meanwhile."""
    host.write(".venv/bin/tool", "#!/bin/sh\necho tool\n", 0o755)
    host.write("build/.keep", "")
    everything = [{"patterns": ["**"], "operations": ["read"]}, {"patterns": ["build/**"], "operations": ["write"]}]
    host.policy({"sh": True, "cmd": ["*"], "file": everything})
    ran = host.launch("sh", "-c", ".venv/bin/tool; cp /usr/bin/true build/x && build/x && echo built")
    assert ran.out == "tool\nbuilt\n", ran
    host.policy({"sh": True, "cmd": ["cp"], "file": everything})
    ran = host.launch("sh", "-c", ".venv/bin/tool; cp /usr/bin/true build/x && build/x && echo built; echo end")
    assert ran.out == "end\n", ran


def test_uses_brings_helpers_along(host: Host) -> None:
    host.policy({"sh": True, "cmd": [{"patterns": ["cat"], "uses": ["id"]}]})
    ran = host.launch("sh", "-c", "id -u >/dev/null && echo helper; ls; echo end")
    assert ran.out == "helper\nend\n", ran


def test_without_programs_nothing_is_executed(host: Host) -> None:
    host.policy({})
    host.write("x.ml", 'import process;\ntry { process.run(["id"]); } except (e) { print("refused"); }\n')
    assert host.launch("x.ml").out == "refused\n"
