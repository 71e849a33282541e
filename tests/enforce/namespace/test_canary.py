"""Nothing that the launcher knows is in the job: policies, tokens, keys (kernel-facts 7).

The launcher reads canaries from a policy's description, from another tenant's policy, from a token, from the key that
verifies it and from the audit key's file. Then everything is searched that the job has: the memory of each of its
processes, read from the host, their environment and descriptors, and all that can be read below /proc from inside.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import stat
import subprocess
import time

import jwt
import pytest

from tests.sandboxed import Host

pytestmark = pytest.mark.kernel
OWN_NAME = "the name of the job's own policy"
VISIBLE = "SEEN-BY-THE-JOB"  # what a search must find, or it does not search
LARGEST = 64 << 20

# Reads all of /proc that it can, then says so and stays. Nothing in it names a canary.
LOOK = """
import os, sys
out = os.fdopen(os.dup(1), 'wb')
def emit(path):
    try: fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError: return
    try: out.write(path.encode() + b'\\0' + os.read(fd, 1 << 20) + b'\\n')
    except OSError: pass
    finally: os.close(fd)
for top, directories, names in os.walk('/proc'):
    for name in names: emit(os.path.join(top, name))
    for name in names + directories:
        path = os.path.join(top, name)
        try: out.write(path.encode() + b' -> ' + os.fsencode(os.readlink(path)) + b'\\n')
        except OSError: pass
    if top.endswith('/fd'):
        for name in os.listdir(top): emit(os.path.join(top, name))
    directories[:] = [name for name in directories if name not in ('task', 'bus', 'irq')]
out.write(b'/proc/1/mem ' + str(os.access('/proc/1/mem', os.R_OK)).encode() + b'\\nALL-' + b'READ\\n'); out.flush()
while True: sys.stdin.read(1)
"""
ML = """
count = 0;
while (count < 3000) { print("ALL-READ"); count = count + 1; }
while (true) { count = count + 1; }
"""


def nonce() -> str:
    return "canary" + os.urandom(12).hex()


class Planted:
    """A host where every secret of the launcher is a canary. `canaries` maps what it is to the bytes to look for."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = "alice" if host.who == "root" else host.name
        self.canaries: dict[str, bytes] = {}
        self._policies()
        self._token()
        self._audit_key()

    def _new(self, what: str) -> str:
        text = nonce()
        self.canaries[what] = text.encode()
        return text

    def _policies(self) -> None:
        host = self.host
        description = self._new("the description of the job's own policy")
        name = self._new(OWN_NAME)
        rules = {"py": True, "file": [{"patterns": [f"{host.workspace}/data/**"], "operations": ["read"]}]}
        host.write("data/a.csv", "1\n")
        host.policy(rules, description=description, name=name, applies_to={"users": [self.name]})
        other = [{"patterns": [f"/srv/{self._new('a pattern of another tenant')}/*"], "operations": ["read"]}]
        host.policy(
            {"file": other, "env": [self._new("a variable of another tenant")]}, "other",
            description=self._new("the description of another tenant's policy"), applies_to={"users": ["mallory"]},
        )  # fmt: skip

    def _token(self) -> None:
        host, key = self.host, self._new("the key of the tokens") + nonce()
        path = f"{host.root}/jwt.key"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(key)
        config = f"{host.root}/config.yaml"
        with open(config, "w", encoding="ascii") as file:
            file.write(f"jwt: {{algorithm: HS256, key_file: {path}}}\n")
        host._own(path)
        host._own(config)
        now = int(time.time())
        claims = {"sub": self.name, "iat": now, "nbf": now, "exp": now + 600, "note": self._new("a claim of the token")}
        self.token = jwt.encode(claims, key, algorithm="HS256")
        _header, payload, signature = self.token.split(".")
        self.canaries["the token's claims"] = payload[40:100].encode()
        self.canaries["the token's signature"] = signature.encode()

    def _audit_key(self) -> None:
        secret = base64.b64encode(os.urandom(48)).decode()
        path = f"{self.host.root}/audit.key"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")
        self.host._own(path)
        self.canaries["the audit key"] = secret.encode()

    def start(self, *job: str) -> subprocess.Popen[bytes]:
        options = self.host.drop()
        options["env"] = {**options["env"], "MLSANDBOX_TOKEN": self.token}
        return subprocess.Popen(
            self.host.command("launch", *job), cwd=self.host.workspace, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def leaks(self, where: str, data: bytes) -> list[str]:
        return [f"{what} is in {where}" for what, canary in self.canaries.items() if canary in data]


@pytest.fixture
def planted(host: Host) -> Planted:
    return Planted(host)


def output_until_read(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None and process.stderr is not None
    out = b""
    while b"ALL-READ" not in out:
        chunk = os.read(process.stdout.fileno(), 1 << 20)
        assert chunk, (out[-500:], process.stderr.read()[-3000:])
        out += chunk
    return out


def children(pid: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        found += [int(name)] if parent == pid else []
    return found


def job_processes(launcher: int) -> list[int]:
    """Below pid 1 of the sandbox, the launcher's only child: pid 1 is a fork of it, and is not the job."""
    rest, found = [grandchild for child in children(launcher) for grandchild in children(child)], []
    while rest:
        found.append(rest.pop())
        rest += children(found[-1])
    return found


def memory(pid: int) -> bytes:
    """Every readable mapping."""
    content = []
    with (
        open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as maps,
        open(f"/proc/{pid}/mem", "rb", 0) as mem,
    ):
        for line in maps:
            words = line.split()
            first, last = (int(word, 16) for word in words[0].split("-"))
            if words[1].startswith("r") and words[-1] not in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                mem.seek(first)
                content.append(mem.read(min(last - first, LARGEST)) or b"")
    return b"".join(content)


def belongings(pid: int) -> bytes:
    """Arguments, environment, and what its descriptors lead to and hold."""
    content = []
    for name in ("cmdline", "environ"):
        with open(f"/proc/{pid}/{name}", "rb") as file:
            content.append(file.read())
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        content.append(os.fsencode(os.readlink(path)))
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as file:
                content.append(file.read(LARGEST))
    return b"\n".join(content)


def searched(planted: Planted, process: subprocess.Popen[bytes], *, visible: bytes) -> list[str]:
    pids = job_processes(process.pid)
    assert pids
    found = []
    for pid in pids:
        held, owned = memory(pid), belongings(pid)
        assert len(held) > 1 << 20
        assert visible in held
        found += planted.leaks(f"the memory of the job (process {pid})", held)
        found += planted.leaks(f"the arguments, environment or descriptors of the job (process {pid})", owned)
    return found


def test_a_command_has_nothing_of_the_launcher(planted: Planted) -> None:
    process = planted.start("--", "python3", "-I", "-c", LOOK, VISIBLE)
    try:
        seen = output_until_read(process)
        assert b"/proc/self/status\0" in seen or b"/status\0" in seen
        assert VISIBLE.encode() in seen  # its own command line
        assert b"/proc/1/mem False" in seen
        assert re.search(rb"/proc/1/cmdline\0\0*\n", seen)  # readable, and empty
        assert b"/proc/1/environ\0" not in seen
        assert planted.leaks("what can be read below /proc", seen) == []
        assert searched(planted, process, visible=VISIBLE.encode()) == []
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_a_token_on_the_command_line_is_not_in_the_job(planted: Planted) -> None:
    process = planted.start("--token", planted.token, "--", "python3", "-I", "-c", LOOK, VISIBLE)
    try:
        assert planted.leaks("what can be read below /proc", output_until_read(process)) == []
        assert searched(planted, process, visible=VISIBLE.encode()) == []
    finally:
        process.kill()
        process.communicate()


def test_an_ml_program_has_its_own_grants_and_nothing_else(planted: Planted) -> None:
    """Its context holds the patterns, places and policy names of its own grants: its errors name them. No more."""
    del planted.canaries[OWN_NAME]
    planted.host.write("job.ml", f'name = "{VISIBLE}";\n{ML}')
    process = planted.start("job.ml")
    try:
        output_until_read(process)
        assert searched(planted, process, visible=f"{planted.host.workspace}/data/**".encode()) == []
    finally:
        process.kill()
        process.communicate()


def test_the_search_would_find_what_is_there(planted: Planted) -> None:
    """The launcher itself is full of canaries: a search that finds none in it finds nothing."""
    process = planted.start("--", "python3", "-I", "-c", LOOK)
    try:
        output_until_read(process)
        everything = memory(process.pid) + belongings(process.pid)
        found = {what for what, canary in planted.canaries.items() if canary in everything}
        assert {"the token's signature", "the token's claims"} <= found
        assert len(found) >= 4, found
    finally:
        process.kill()
        process.communicate()
