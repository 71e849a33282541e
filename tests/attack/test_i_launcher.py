"""Attacks 101 to 107: the launcher itself, its arguments and its policies."""

from __future__ import annotations

import json
import os
import subprocess
import threading

import pytest

from tests.attack.report import CAPABILITIES
from tests.sandboxed import Host

ODD = (
    "--",
    "-e",
    "$(x)",
    "a\nb",
    "%s%n",
    "a:b",
    "a,b",
    "\x1b]0;x\x07",
    "bad\udcff",
    ";true",
    "-",
    "--user=root",
    "*",
    "~root",
    "{a,b}",
)


def test_i101_odd_words_are_data(attacked: Host) -> None:
    """As arguments of the job, as names of files, and as names that a policy grants."""
    attacked.policy(CAPABILITIES)
    ran = attacked.python("import os, sys; print([os.fsencode(word) for word in sys.argv[1:]])", *ODD)
    assert ran.out == f"{[os.fsencode(word) for word in ODD]}\n", ran
    for name in ODD:
        attacked.write(f"in/{name}", "x")
    ran = attacked.python("import os\nprint(sorted(os.listdir(b'in')))")
    for name in ODD:
        assert repr(os.fsencode(name)) in ran.out, name


def test_i101_odd_names_that_a_policy_grants(attacked: Host) -> None:
    for name in ODD:
        attacked.write(f"odd/{name}", "granted")
        attacked.write(f"odd/{name}x", "not granted")
    escaped = [f"odd/{name.translate({ord(c): chr(92) + c for c in '*?[]' + chr(92)})}" for name in ODD]
    attacked.policy(
        {"py": True, "file": [{"patterns": [e for e in escaped if "\udcff" not in e], "operations": ["read"]}]}
    )
    ran = attacked.python("import os\nprint(sorted(os.listdir(b'odd')))")
    assert ran.out == f"{sorted(os.fsencode(name) for name in ODD if chr(0xDCFF) not in name)}\n", ran


@pytest.mark.parametrize(
    "words", [["--user", "-e"], ["--workspace", "-x"], ["--env", "=x"], ["--timeout", "-1"], ["--memory", "1;2"]]
)
def test_i101_odd_values_of_options(attacked: Host, words: list[str]) -> None:
    attacked.policy(CAPABILITIES)
    ran = attacked.launch("python3", "-c", "print('RAN')", options=words)
    assert ran.status != 0 and "RAN" not in ran.out and "internal error" not in ran.err, ran


def test_i101_the_job_must_be_named(attacked: Host) -> None:
    attacked.policy(CAPABILITIES)
    for words in ([], ["--"], ["--", ""], ["--", "/"], ["--", "."], ["--", "-c"]):
        ran = attacked.run("launch", *words)
        assert ran.returncode not in {0, 1} and b"internal error" not in ran.stderr, (words, ran)


def test_i102_a_policy_that_others_may_write(attacked: Host) -> None:
    """In the launcher's own directory a group or the world may not write; strict where it is for somebody else."""
    if attacked.who != "root":
        pytest.skip("a plain user's policies are his own")
    attacked.policy(CAPABILITIES)
    path = f"{attacked.root}/policies/test.json"
    import pwd

    other = pwd.getpwnam("nobody").pw_name
    attacked.policy({"py": True}, name="other", applies_to={"users": [other]})
    os.chmod(path, 0o666)
    try:
        ran = attacked.run(
            "launch", "--user", other, "--workspace", attacked.workspace, "--", "python3", "-c", "print('RAN')"
        )
        assert ran.returncode != 0 and b"RAN" not in ran.stdout, ran
    finally:
        os.chmod(path, 0o644)
        os.unlink(f"{attacked.root}/policies/other.json")


def test_i102_a_policy_swapped_while_it_is_read(attacked: Host) -> None:
    """Two valid documents change places all the time: each launch holds one of them whole."""
    policies = f"{attacked.root}/policies"
    attacked.policy({**CAPABILITIES, "env": ["ONE"]}, description="one")
    os.rename(f"{policies}/test.json", f"{policies}/one")
    attacked.policy({"py": True, "file": [{"patterns": ["probes/**"], "operations": ["read"]}], "env": ["TWO"]})
    os.rename(f"{policies}/test.json", f"{policies}/two")
    os.link(f"{policies}/one", f"{policies}/test.json")
    stop = threading.Event()

    def swap() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            source = f"{policies}/{('one', 'two')[number % 2]}"
            os.link(source, f"{policies}/new")
            os.rename(f"{policies}/new", f"{policies}/test.json")

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    code = "import os; print(sorted(n for n in ('ONE', 'TWO') if n in os.environ), os.path.exists('in/plain.txt'))"
    try:
        for _ in range(12):
            ran = subprocess.run(
                attacked.command("launch", "--", "python3", "-I", "-c", code),
                capture_output=True, check=False, cwd=attacked.workspace, timeout=60,
                **{**attacked.drop(), "env": {**attacked.drop()["env"], "ONE": "1", "TWO": "2"}},
            )  # fmt: skip
            assert b"internal error" not in ran.stderr, ran
            seen.add(ran.stdout)
    finally:
        stop.set()
        swapper.join()
        for name in ("one", "two"):
            os.unlink(f"{policies}/{name}")
    # a document that changed while it was read may be refused; a mixture is a hole
    assert seen <= {b"['ONE'] True\n", b"['TWO'] False\n", b""}, seen
    assert seen - {b""}


def test_i102_the_digest_is_in_the_audit(attacked: Host) -> None:
    attacked.policy(CAPABILITIES)
    attacked.python("pass")
    launched = [row for row in attacked.audit() if row["event"] == "launch"]
    assert launched[-1]["detail"]["policies"][0]["digest"].startswith("sha256:")


def test_i103_launching_for_somebody_else(attacked: Host) -> None:
    attacked.policy(CAPABILITIES)
    if attacked.who == "user":
        ran = attacked.launch("python3", "-c", "print('RAN')", options=["--user", "root"])
        assert ran.status == 126 and "RAN" not in ran.out, ran
    for name in ("nosuchperson", attacked.name.upper(), f"{attacked.name} ", f"{attacked.name}\n", "", "../x", "#0"):
        ran = attacked.launch("python3", "-c", "print('RAN')", options=["--user", name])
        assert ran.status != 0 and "RAN" not in ran.out and "internal error" not in ran.err, (name, ran)


def test_i103_an_empty_list_grants_nothing(attacked: Host) -> None:
    """CVE-2025-66479: an empty allow list meant everything."""
    attacked.policy({"py": True, "file": [], "network": [], "cmd": [], "env": []})
    ran = attacked.python("import os; print(os.path.exists('in'), os.path.exists('secret'))")
    assert ran.out == "False False\n", ran
    attacked.policy({"py": True, "file": [{"patterns": [], "operations": ["read"]}]})
    ran = attacked.python("import os; print(os.path.exists('in'), os.path.exists('secret'))")
    assert ran.out in {"False False\n", ""}, ran


def test_i104_declaring_less_than_it_does(attacked: Host) -> None:
    """The manifest names one file; ctypes and os.system try the rest: what is granted is what counts in the kernel."""
    attacked.policy({"py": True, "file": [{"patterns": ["in/**"], "operations": ["read"]}]})
    attacked.write("mlsandbox.yaml", 'needs: ["file.read:in/plain.txt"]\n')
    code = (
        "import ctypes, os\n"
        "print(os.system('id') != 0)\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"print(libc.open({attacked.workspace!r}.encode() + b'/secret/key', 0), libc.open(b'/etc/shadow', 0))\n"
    )
    try:
        ran = attacked.python(code)
        assert ran.out == "True\n-1 -1\n", ran
    finally:
        os.unlink(f"{attacked.workspace}/mlsandbox.yaml")


def test_i106_a_mount_that_fails_refuses_the_launch(attacked: Host) -> None:
    """A base profile that names a directory which the host does not have."""
    os.makedirs(f"{attacked.root}/profiles", exist_ok=True)
    path = f"{attacked.root}/profiles/missing.yaml"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(
            {"profile": {"description": "x", "extends": "default"}, "view": {"mounts": ["/usr", "/no-such-directory"]}},
            file,
        )
    if os.geteuid() == 0:
        os.chown(f"{attacked.root}/profiles", attacked.uid, attacked.gid)
        os.chown(path, attacked.uid, attacked.gid)
    attacked.policy(CAPABILITIES, base="missing")
    ran = attacked.python("print('RAN')")
    assert ran.status in {125, 126} and "RAN" not in ran.out and "no-such-directory" in ran.err, ran


def mounts() -> int:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return len(file.readlines())


def test_i107_launches_at_once(attacked: Host) -> None:
    """No cross-talk, and neither mounts nor scratch are left behind."""
    attacked.policy(CAPABILITIES)
    before = mounts()
    jobs = [
        attacked.popen(
            "launch", "--", "python3", "-I", "-c", f"import os; open('/tmp/n', 'x').write('{n}'); open('out/n{n}', 'w').write('{n}'); print({n}, os.listdir('/tmp'))",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for n in range(8)
    ]  # fmt: skip
    for number, job in enumerate(jobs):
        out, err = job.communicate(timeout=100)
        assert out == f"{number} ['n']\n".encode(), err
    assert [attacked.read(f"out/n{n}") for n in range(8)] == [str(n) for n in range(8)]
    assert mounts() == before
    assert attacked.run("audit", "verify").returncode == 0
