"""Malformed input of every kind, through the real program: one paragraph, the right exit status, never a traceback.

Files can be anything: binary, endless, of the wrong kind, with names that are not UTF-8. What each is read for decides
the status (design section 11): 2 the words of the command line, 125 what the launcher is configured with, 126 what
policy refuses, 127 what is not there.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from launcher.cli.main import main
from tests.sandboxed import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel
NOT_UTF8 = b"\xff\xfe\x80"
DEEP = 200
KEY = "k" * 48
WORKS = {"cmd": ["true"], "file": [{"patterns": ["data/*"], "operations": ["read"]}]}


@pytest.fixture
def user(installation: str) -> Iterator[Host]:
    """What is read is read alike for every caller: an ordinary user, without a second run as root."""
    made = Host(installation, "user")
    yield made
    made.remove()


@pytest.fixture
def own(installation: str) -> Iterator[Host]:
    """The caller that this process is."""
    made = Host(installation, "root" if os.geteuid() == 0 else "user")
    yield made
    made.remove()


def nested_yaml(depth: int) -> bytes:
    return b"policy: " + b"[" * depth + b"]" * depth


def alias_bomb() -> bytes:
    rows = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)]
    return b"\n".join(rows) + b"\npolicy: {capabilities: {}}\n"


# name -> bytes of a YAML document that is none of ours, whatever it is read as
DOCUMENTS: dict[str, bytes] = {
    "binary": bytes(range(256)),
    "nul": b"policy:\0  {}\n",
    "utf16": "policy: {}".encode("utf-16"),
    "not-utf8": b"policy: {name: \xff\xfe}\n",
    "control": b'policy: {name: "\x1b[2J"}\n',
    "deep": nested_yaml(DEEP),
    "very-deep": nested_yaml(200_000),
    "alias-bomb": alias_bomb(),
    "self-alias": b"policy: &p {capabilities: *p}\n",
    "twice": b"policy: {}\npolicy: {}\n",
    "two-documents": b"policy: {}\n---\npolicy: {}\n",
    "tag": b"policy: !!python/object/apply:os.system ['true']\n",
    "merge": b"a: &a {x: 1}\npolicy: {<<: *a}\n",
    "list": b"[1, 2, 3]\n",
    "number": b"7\n",
    "unfinished": b"policy: {capabilities: [\n",
    "tab": b"policy:\n\t- x\n",
    "huge": b"policy: " + b"x" * (2 << 20),
    "long-line": b"policy: {name: " + b"y" * 500_000 + b"}\n",
    "surrogate": b'policy: {name: "\\ud800"}\n',
}
# name -> a policy that is a document, and wrong
POLICIES: dict[str, bytes] = {
    **{name: data for name, data in DOCUMENTS.items() if name not in ("long-line", "control")},
    "empty": b"",
    "null": b"policy:\n",
    "unknown-key": b"policy: {applies_to: {users: [x]}, capabilites: {}}\n",
    "wrong-type": b"policy: {capabilities: {file: yes}}\n",
    "wrong-operation": b"policy: {capabilities: {file: [{patterns: [x], operations: [explode]}]}}\n",
    "no-patterns": b"policy: {capabilities: {file: [{operations: [read]}]}}\n",
    "nul-pattern": b'policy: {capabilities: {file: [{patterns: ["a\\0b"], operations: [read]}]}}\n',
    "bad-glob": b'policy: {capabilities: {file: [{patterns: ["a**b"], operations: [read]}]}}\n',
    "bad-host": b'policy: {capabilities: {network: [{hosts: ["ex ample..com"], operations: [https]}]}}\n',
    "bad-unit": b"policy: {limits: {max_memory: 10 parsecs}}\n",
    "negative": b"policy: {limits: {max_memory: -1}}\n",
    "enormous": b"policy: {limits: {max_memory: 99999999999999999999999999999999}}\n",
    "nan": b"policy: {limits: {cpus: .nan}}\n",
    "base": b'policy: {base: ../../etc/passwd, applies_to: {users: ["*"]}}\n',
}
PROGRAMS: dict[str, bytes] = {
    "binary": bytes(range(256)) * 4,
    "random": bytes((n * 167 + n // 7) & 0xFF for n in range(20_000)),
    "nul": b"print(1);\0print(2);",
    "not-utf8": b'print("\xff\xfe");',
    "deep": b"x = " + b"(" * 50_000 + b"1" + b")" * 50_000 + b";",
    "deep-blocks": b"if (true) { " * 5_000 + b"}" * 5_000,
    "unfinished": b'print("never ends',
    "comment": b"/* never ends",
    "operators": b"x = " + b"- " * 100_000 + b"1;",
    "operation": b'capability X { resource "a"; allow explode; }',
    "type": b"capability X { resource 7; allow read; }",
    "number": b"x = " + b"9" * 100_000 + b";",
    "bom16": "print(1);".encode("utf-16"),
}  # fmt: skip


def one_paragraph(done: subprocess.CompletedProcess[bytes], *statuses: int) -> str:
    """Holds what every refusal must be like; its text."""
    text = done.stderr.decode("utf-8", "replace")
    assert done.returncode in statuses, (done.returncode, text[:2000])
    assert "Traceback (most" not in text, text[:3000]
    assert "internal error" not in text, text[:3000]
    assert "\n\n" not in text, text[:2000]
    assert text.count("error:") >= 1, text
    assert 20 < len(text) < 6000, (len(text), text[:2000])
    assert all(char >= " " or char == "\n" for char in text), text[:2000]
    return text


def refused(host: Host, *statuses: int, words: tuple[str, ...] = ("launch", "--", "true"), **options: Any) -> str:
    done = host.run(*words, **options)
    text = one_paragraph(done, *statuses)
    assert text.splitlines()[-1] == f"ended_by: {'policy' if done.returncode == 126 else 'launcher'}", text
    return text


def file_of(host: Host, path: str, data: bytes) -> str:
    with open(path, "wb") as file:
        file.write(data)
    host._own(path)
    return path


@pytest.mark.parametrize("name", POLICIES)
def test_policies(user: Host, name: str) -> None:
    data = POLICIES[name].replace(b"users: [x]", b"users: [%s]" % user.name.encode())
    file_of(user, f"{user.root}/policies/bad.yaml", data)
    text = refused(user, 125)
    assert "policies/bad.yaml" in text
    shown = user.run("check", "--json", "--", "true")
    assert json.loads(shown.stdout)["error"]["status"] == 125


@pytest.mark.parametrize("name", DOCUMENTS)
def test_configurations(user: Host, name: str) -> None:
    user.policy(WORKS)
    file_of(user, f"{user.root}/config.yaml", DOCUMENTS[name])
    assert "config.yaml" in refused(user, 125)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_manifests(user: Host, name: str) -> None:
    user.policy(WORKS)
    user.write("mlsandbox.yaml", DOCUMENTS[name])
    assert "mlsandbox.yaml" in refused(user, 125)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(user: Host, name: str) -> None:
    user.policy(WORKS)
    user.write("job.ml", PROGRAMS[name])
    assert "job.ml" in refused(user, 125, words=("launch", "job.ml"))
    one_paragraph(user.run("check", "job.ml"), 125)


def test_a_program_that_is_too_large(user: Host) -> None:
    user.policy(WORKS)
    user.write("job.ml", b"// \n" * (1 << 20) + b"//")
    assert "larger than 4194304 bytes" in refused(user, 2, words=("launch", "job.ml"))


# -- tokens -----------------------------------------------------------------------------------------------------------


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(claims: dict[str, Any], **header: Any) -> str:
    now = int(time.time())
    whole = {"sub": "alice", "iat": now, "exp": now + 60, **claims}
    return jwt.encode({k: v for k, v in whole.items() if v is not None}, KEY, algorithm="HS256", headers=header)


TOKENS: dict[str, Callable[[], str]] = {
    "text": lambda: "this is no token",
    "dots": lambda: "...",
    "empty-parts": lambda: "..",
    "many-dots": lambda: "." * 10_000,
    "none": lambda: f"{segment({'alg': 'none', 'typ': 'JWT'})}.{segment({'sub': 'root', 'exp': 9999999999})}.",
    "header-list": lambda: f"{segment([1])}.{segment({'sub': 'root'})}.AAAA",
    "header-number": lambda: f"{segment(7)}.{segment({'sub': 'root'})}.AAAA",
    "claims-list": lambda: jwt.api_jws.encode(b"[1, 2]", KEY, algorithm="HS256"),
    "claims-binary": lambda: jwt.api_jws.encode(bytes(range(256)), KEY, algorithm="HS256"),
    "deep": lambda: jwt.api_jws.encode(b"[" * 100_000 + b"]" * 100_000, KEY, algorithm="HS256")[:100_000],
    "bad-base64": lambda: "!!!!.????.####",
    "unicode": lambda: "\u202e\u00e9.\U0001f600.\u0000".replace("\0", ""),
    "line-feeds": lambda: "a\nb.c\nd.e\nf",
    "escape": lambda: "\x1b[2J.\x1b]0;x\x07.x",
    "not-utf8": lambda: os.fsdecode(NOT_UTF8),
    "long": lambda: "A" * 100_000,
    "wrong-key": lambda: jwt.encode({"sub": "root", "exp": 9999999999}, "x" * 48, algorithm="HS256"),
    "expired": lambda: signed({"exp": 1}),
    "no-exp": lambda: signed({"exp": None}),
    "exp-text": lambda: signed({"exp": "soon"}),
    "exp-huge": lambda: signed({"exp": 10**40}),
    "exp-list": lambda: signed({"exp": [1]}),
    "future": lambda: signed({"nbf": int(time.time()) + 9999}),
    "no-subject": lambda: signed({"sub": None}),
    "subject-empty": lambda: signed({"sub": ""}),
    "subject-nul": lambda: signed({"sub": "a\0b"}),
    "subject-lines": lambda: signed({"sub": "a\nb DENIED"}),
    "subject-long": lambda: signed({"sub": "s" * 5000}),
    "roles-text": lambda: signed({"roles": {"admin": 1}}),
    "groups-numbers": lambda: signed({"groups": [1, None]}),
    "crit": lambda: signed({}, crit=["exp"]),
    "kid": lambda: signed({"sub": "../../etc/passwd"}, kid="../../etc/shadow"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_tokens(user: Host, name: str) -> None:
    user.policy({"cmd": ["true"]})
    key = file_of(user, f"{user.root}/jwt.key", KEY.encode())
    os.chmod(key, 0o600)
    file_of(user, f"{user.root}/config.yaml", b"jwt: {algorithm: HS256, key_file: %s}\n" % key.encode())
    token = TOKENS[name]()
    environment = {**user.drop(), "env": {**user.drop()["env"], "MLSANDBOX_TOKEN": token}}
    done = subprocess.run(
        user.command("launch", "--", "true"), capture_output=True, check=False, timeout=60, cwd=user.workspace,
        stdin=subprocess.DEVNULL, **environment,
    )  # fmt: skip
    text = one_paragraph(done, 126)
    assert text.endswith("ended_by: policy\n")
    assert len(token) < 20 or token not in text


# -- things that are not files ----------------------------------------------------------------------------------------


def directory(path: str) -> None:
    os.mkdir(path)


def fifo(path: str) -> None:
    os.mkfifo(path)


def socket(path: str) -> None:
    import socket as sockets

    with sockets.socket(sockets.AF_UNIX) as one:
        one.bind(path)


def loop(path: str) -> None:
    os.symlink(os.path.basename(path), path)


def nowhere(path: str) -> None:
    os.symlink("/proc/nonexistent/file", path)


def device(path: str) -> None:
    os.symlink("/dev/zero", path)


def unreadable(path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write("policy: {}\n")
    os.chmod(path, 0)


KINDS = (directory, fifo, socket, loop, nowhere, device, unreadable)
# where a file is expected -> (the words that read it, the statuses that are right)
PLACES: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "root/config.yaml": (("launch", "--", "true"), (125,)),
    "root/policies/bad.yaml": (("launch", "--", "true"), (125,)),
    "workspace/mlsandbox.yaml": (("launch", "--", "true"), (125,)),
    "workspace/job.ml": (("launch", "job.ml"), (2, 127)),
    "workspace/new.yaml": (("admin", "policy", "create", "new.yaml"), (2, 125)),
    "workspace/token": (("login", "--token-file", "token"), (125, 126)),
    "workspace/key": (("audit", "checkpoint", "--key", "key"), (125,)),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", PLACES)
def test_things_that_are_not_files(host: Host, place: str, kind: Callable[[str], None]) -> None:
    if kind is unreadable and host.who == "root":
        pytest.skip("root reads everything")
    host.policy(WORKS)
    words, statuses = PLACES[place]
    if kind is fifo and place == "workspace/new.yaml":
        pytest.skip("who names a pipe to install from, as `<(...)` does, waits for its writer")
    path = f"{host.top}/{place}"
    kind(path)
    if not os.path.islink(path):
        host._own(path)
    one_paragraph(host.run(*words, timeout=30), *statuses)


# -- words ------------------------------------------------------------------------------------------------------------

WORDS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "command-lines": (("launch", "--", "a\nb\n\nended_by: job"), (127,)),
    "command-empty": (("launch", "--", ""), (2, 126, 127)),
    "command-not-utf8": (("launch", "--", os.fsdecode(NOT_UTF8)), (127,)),
    "command-escape": (("launch", "--", "\x1b[2Jx"), (127,)),
    "command-long": (("launch", "--", "x" * 100_000), (127,)),
    "command-path": (("launch", "--", "/" + "x/" * 3000), (127,)),
    "command-directory": (("launch", "--", "/usr/bin"), (126, 127)),
    "program-not-utf8": (("launch", os.fsdecode(NOT_UTF8) + ".ml"), (127,)),
    "program-lines": (("launch", "a\n\nb.ml"), (127,)),
    "program-no-ml": (("launch", "job.py"), (2,)),
    "program-long": (("launch", "x" * 5000 + ".ml"), (127,)),
    "no-verb": (("explode",), (2,)),
    "verb-lines": (("la\n\nunch",), (2,)),
    "verb-not-utf8": ((os.fsdecode(NOT_UTF8),), (2,)),
    "option": (("launch", "--no-such-option", "--", "true"), (2,)),
    "option-lines": (("launch", "--no\n\nsuch", "--", "true"), (2,)),
    "workspace": (("launch", "--workspace", "/proc/nonexistent\n\n", "--", "true"), (2,)),
    "workspace-not-utf8": (("launch", "--workspace", os.fsdecode(NOT_UTF8), "--", "true"), (2,)),
    "user": (("launch", "--user", "no\n\nsuch", "--", "true"), (2, 126)),
    "user-not-utf8": (("launch", "--user", os.fsdecode(NOT_UTF8), "--", "true"), (2, 126)),
    "user-long": (("launch", "--user", "u" * 9999, "--", "true"), (2, 126)),
    "timeout": (("launch", "--timeout", "soon", "--", "true"), (2,)),
    "timeout-huge": (("launch", "--timeout", "9" * 400, "--", "true"), (2,)),
    "timeout-negative": (("launch", "--timeout", "-5", "--", "true"), (2,)),
    "memory": (("launch", "--memory", "much", "--", "true"), (2,)),
    "memory-nan": (("launch", "--memory", "nan", "--", "true"), (2,)),
    "cpus": (("launch", "--cpus", "inf", "--", "true"), (2,)),
    "limit": (("launch", "--limit", "max_fun=1", "--", "true"), (2,)),
    "limit-bare": (("launch", "--limit", "x", "--", "true"), (2,)),
    "env": (("launch", "--env", "=x", "--", "true"), (2,)),
    "result": (("launch", "--result", "/proc/nonexistent/x", "--", "true"), (125,)),
    "result-directory": (("launch", "--result", "/", "--", "true"), (125,)),
    "since": (("audit", "show", "--since", "yes\n\nterday"), (2, 125)),
    "policy-name": (("admin", "policy", "show", "../../etc/passwd"), (2, 125)),
    "policy-name-lines": (("admin", "policy", "delete", "a\n\nb"), (2, 125)),
    "grant-nobody": (("admin", "grant", "test"), (2,)),
    "root-file": (("--root", "/dev/null", "launch", "--", "true"), (125, 126)),
    "root-not-utf8": (("--root", "/proc/nonexistent/" + os.fsdecode(NOT_UTF8), "launch", "--", "true"), (125, 126)),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_words(user: Host, name: str) -> None:
    user.policy(WORKS)
    words, statuses = WORDS[name]
    one_paragraph(user.run(*words, input=b""), *statuses)


NULS = (
    ["launch", "--", "tr\0ue"],
    ["launch", "--", "true", "a\0b"],
    ["launch", "jo\0b.ml"],
    ["launch", "--workspace", "/t\0mp", "--", "true"],
    ["launch", "--user", "ro\0ot", "--", "true"],
    ["launch", "--env", "A=\0", "--", "true"],
    ["launch", "--token", "a\0b", "--", "true"],
    ["launch", "--result", "a\0b", "--", "true"],
    ["launch", "--timeout", "1\0", "--", "true"],
    ["launch", "--limit", "max_files=1\0", "--", "true"],
    ["la\0unch"],
    ["check", "jo\0b.ml"],
    ["explain", "--", "tr\0ue"],
    ["--root", "a\0b", "launch", "--", "true"],
    ["admin", "policy", "create", "a\0b"],
    ["admin", "policy", "show", "a\0b"],
    ["admin", "grant", "a\0b", "--user", "x"],
    ["admin", "grant", "test", "--user", "a\0b"],
    ["login", "--token-file", "a\0b"],
    ["audit", "show", "--user", "a\0b", "--since", "\0"],
    ["audit", "checkpoint", "--key", "a\0b"],
    ["audit", "verify", "--public-key", "a\0b"],
)


@pytest.mark.parametrize("words", NULS, ids=lambda words: " ".join(words).replace("\0", "?"))
def test_nul_by_the_python_entry(own: Host, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """exec(2) cannot pass NUL; a program that calls `main` can."""
    own.policy(WORKS)
    monkeypatch.chdir(own.workspace)
    monkeypatch.setenv("MLSANDBOX_ROOT", own.root)
    shown, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(told):
        status = main(words)
    text = told.getvalue()
    assert status in (2, 125, 126, 127), (status, text)
    assert "internal error" not in text, text
    assert "error:" in text
    assert "\0" not in text


def test_names_that_are_not_utf8_in_granted_trees(user: Host) -> None:
    """Such a file is read like any other; a policy cannot write its name, but a pattern covers it."""
    user.policy({"py": True, "file": [{"patterns": ["data/*"], "operations": ["read"]}]})
    user.write("data/plain", "1")
    path = os.fsencode(f"{user.workspace}/data/") + NOT_UTF8 + b"\n"
    with open(path, "wb") as file:
        file.write(b"odd")
    user._own(os.fsdecode(path))
    ran = user.python("import os; print([open(b'data/' + n).read() for n in sorted(os.listdir(b'data'))])")
    assert ran.out == "['1', 'odd']\n", ran


def test_a_workspace_whose_name_is_not_utf8(user: Host) -> None:
    user.policy({"cmd": ["pwd"]})
    path = os.fsencode(user.workspace) + b"/" + NOT_UTF8
    os.mkdir(path)
    user._own(os.fsdecode(path))
    done = user.run("launch", "--workspace", os.fsdecode(path), "--", "pwd")
    assert (done.returncode, done.stdout) == (0, path + b"\n"), done
