"""Secrets, the way out and trust, from the configuration to a real launch; the job itself holds placeholders."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.local_servers import COMPANY, ConnectProxy, private_file, server

if TYPE_CHECKING:
    from tests.sandboxed import Host

pytestmark = pytest.mark.kernel
CANARY = "canary-7d1f0c55e2-secret"

ASK = """
import os, sys, urllib.error, urllib.request
header = sys.argv[2].format(**os.environ) if len(sys.argv) > 2 else ''
request = urllib.request.Request(sys.argv[1], headers={'Authorization': header} if header else {})
try: print(urllib.request.urlopen(request, timeout=10).read().decode()[:100])
except urllib.error.HTTPError as error: print(error.code, error.read().decode().replace(chr(10), ' '))
except OSError as error: print(type(error).__name__, error)
"""
# Attack: native code looks for the credential wherever a process can look.
SEARCH = """
import os, sys
backwards = sys.argv[1].encode()  # and so is the data: else the search would find itself in its own memory
found = []
def look(path, data):
    if backwards in data[::-1]: found.append(path)
look('environment', b' '.join(k + b'=' + v for k, v in os.environb.items()))
for pid in [name for name in os.listdir('/proc') if name.isdigit()]:
    for name in ('environ', 'cmdline', 'status', 'mountinfo'):
        try: look(f'/proc/{pid}/{name}', open(f'/proc/{pid}/{name}', 'rb').read())
        except OSError: pass
    try:
        with open(f'/proc/{pid}/maps') as maps, open(f'/proc/{pid}/mem', 'rb', 0) as memory:
            for line in maps:
                low, high = (int(part, 16) for part in line.split()[0].split('-'))
                if line.split()[1][0] != 'r' or high - low > 1 << 28: continue
                try: memory.seek(low); look(f'{pid} {line}', memory.read(high - low))
                except (OSError, ValueError, OverflowError): pass
    except OSError: pass
for top in ('/etc', '/tmp', '/dev/shm', os.getcwd(), os.environ.get('HOME', '/')):
    for directory, _, files in os.walk(top):
        for name in files:
            try: look(name, open(os.path.join(directory, name), 'rb').read(1 << 20))
            except OSError: pass
for fd in os.listdir('/proc/self/fd'):
    try: look(f'fd {fd}', os.pread(int(fd), 1 << 20, 0))
    except OSError: pass
print('FOUND' if found else 'nothing', *found)
"""


def configure(host: Host, **egress: Any) -> None:
    path = f"{host.root}/config.yaml"
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"egress": egress}, file)
    os.chmod(path, 0o644)
    if os.geteuid() == 0:
        os.chown(path, host.uid, host.gid)


def company(host: Host) -> str:
    path = f"{host.root}/company.pem"
    with open(path, "wb") as file:
        file.write(COMPANY.certificate)
    os.chmod(path, 0o644)
    return path


def secret_file(host: Host, content: str = CANARY + "\n") -> dict[str, str]:
    return {"file": private_file(f"{host.root}/secret", content, host.uid, host.gid)}


def https(port: int, **more: Any) -> dict[str, Any]:
    return {"hosts": [f"localhost:{port}"], "operations": ["https"], "allow_loopback": True, **more}


INJECT = {"header": "Authorization", "secret": "github-token"}


def test_a_secret_is_added_outside_and_is_not_in_the_sandbox(host: Host) -> None:
    with server("localhost") as made:
        configure(host, secrets={"github-token": secret_file(host)}, trust=company(host))
        host.policy({"py": True, "network": [https(made.port, inject=INJECT)]})
        url = f"https://localhost:{made.port}/x"
        assert host.python(ASK, url).out == "served\n"
        assert host.python(ASK, url, "token {GITHUB_TOKEN}").out == "served\n"
        assert host.python(ASK, url, "mine").out == "served\n"
        ran = host.python(SEARCH, CANARY[::-1])
        assert ran.out == "nothing\n", ran
    sent = [fields["authorization"] for fields in made.fields]
    assert sent == [f"Bearer {CANARY}", f"token {CANARY}", "mine"]
    audit = host.run("audit", "show", "--json").stdout.decode()
    assert CANARY not in audit + json.dumps(ran.result)


def test_basic_credentials_hold_the_placeholder_too(host: Host) -> None:
    """git and pip send a token as `user:token` in base64."""
    plain = "sys.argv[2].format(**os.environ)"
    code = "import base64\n" + ASK.replace(plain, f"'Basic ' + base64.b64encode({plain}.encode()).decode()")
    with server("localhost") as made:
        configure(host, secrets={"github-token": secret_file(host)}, trust=company(host))
        host.policy({"py": True, "network": [https(made.port, inject=INJECT)]})
        assert host.python(code, f"https://localhost:{made.port}/", "git:{GITHUB_TOKEN}").out == "served\n"
    assert made.fields[0]["authorization"] == "Basic " + base64.b64encode(f"git:{CANARY}".encode()).decode()


def test_a_variable_of_the_caller_does_not_win_over_the_placeholder(host: Host) -> None:
    configure(host, secrets={"github-token": secret_file(host)})
    host.policy({"py": True, "env": ["GITHUB_TOKEN"], "network": [https(1, inject=INJECT)]})
    ran = host.python("import os; print(os.environ['GITHUB_TOKEN'])", options=["--env", f"GITHUB_TOKEN={CANARY}"])
    assert ran.out.startswith("mlsandbox-placeholder-"), ran


def test_the_supervisor_never_holds_the_secret(host: Host) -> None:
    """The sandbox's first process is a fork of the launcher: what that held, a bug would show the job."""
    if os.geteuid() != 0:
        pytest.skip("only root can look into a launcher that is not dumpable")
    configure(host, secrets={"github-token": secret_file(host)})
    host.policy({"py": True, "network": [https(1, inject=INJECT)]})
    code = "import time; print('up', flush=True); time.sleep(30)"
    process = host.popen("launch", "--", "python3", "-I", "-c", code, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        holders = {name for name, pid in _family(process.pid) if CANARY.encode() in _memory(pid)}
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert holders == {"proxy"}


def _family(pid: int) -> list[tuple[str, int]]:
    """The launcher, its proxy (which leads a session of its own), and the rest of its descendants."""
    found = [("launcher", pid)]
    for _, parent in found:
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            for child in map(int, file.read().split()):
                ours = parent == pid and os.getsid(child) == child and _network(child) == _network(os.getpid())
                found.append(("proxy" if ours else "sandbox", child))
    assert [name for name, _ in found].count("proxy") == 1 and len(found) >= 3, found
    return found


def _network(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def _memory(pid: int) -> bytes:
    pieces = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            if line.split()[1].startswith("rw"):
                memory.seek(low)
                try:
                    pieces.append(memory.read(high - low))
                except OSError:
                    continue
    return b"".join(pieces)


def test_a_placeholder_to_another_host_is_refused_and_audited(host: Host) -> None:
    with server("localhost") as bound, server() as other:
        configure(host, secrets={"github-token": secret_file(host)}, trust=company(host))
        plain = {"hosts": [f"localhost:{other.port}"], "operations": ["http"], "allow_loopback": True}
        host.policy({"py": True, "network": [https(bound.port, inject=INJECT), plain]})
        for header in ("token {GITHUB_TOKEN}", "Basic {GITHUB_TOKEN}"):
            ran = host.python(ASK, f"http://localhost:{other.port}/x", header)
            assert ran.out.startswith("403") and "placeholder" in ran.out, ran
    assert other.asked == []
    denied = [event for event in host.audit() if event["event"] == "egress" and event["outcome"] == "DENIED"]
    assert "placeholder of a secret" in denied[-1]["detail"]["reason"]


def test_a_secret_from_a_command(host: Host) -> None:
    with server("localhost") as made:
        store = secret_file(host)["file"]
        configure(host, secrets={"github-token": {"command": ["/bin/cat", store]}}, trust=company(host))
        host.policy({"py": True, "network": [https(made.port, inject=INJECT)]})
        assert host.python(ASK, f"https://localhost:{made.port}/").out == "served\n"
    assert made.fields[0]["authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ({}, "the secret 'github-token' is not configured"),
        ({"github-token": {"command": ["/bin/sh", "-c", f"echo {CANARY}; exit 3"]}}, "/bin/sh failed"),
        ({"github-token": {"file": "/nonexistent"}}, "No such file"),
    ],
)
def test_a_secret_that_cannot_be_had_refuses_the_launch(host: Host, secrets: dict[str, Any], said: str) -> None:
    configure(host, secrets=secrets)
    host.policy({"py": True, "network": [https(1, inject=INJECT)]})
    ran = host.python("print('ran')")
    assert ran.status == 125 and "ran" not in ran.out and said in ran.err, ran
    assert CANARY not in ran.err


def test_a_secret_that_others_can_read_refuses_the_launch(host: Host) -> None:
    source = secret_file(host)
    os.chmod(source["file"], 0o644)
    configure(host, secrets={"github-token": source})
    host.policy({"py": True, "network": [https(1, inject=INJECT)]})
    ran = host.python("print('ran')")
    assert ran.status == 125 and "can be read by others" in ran.err and "chmod 600" in ran.err, ran


# ---- the company's authority, and its proxy


def test_the_company_authority_is_trusted_in_the_job(host: Host) -> None:
    """Without interception the job's own program verifies the server; it must know what the operator trusts."""
    with server("localhost") as made:
        host.policy({"py": True, "network": [https(made.port)]})
        url = f"https://localhost:{made.port}/"
        assert "CERTIFICATE_VERIFY_FAILED" in host.python(ASK, url).out
        configure(host, trust=company(host))
        assert host.python(ASK, url).out == "served\n"


def test_upstream_certificates_are_verified_where_tls_is_opened(host: Host) -> None:
    with server("localhost") as made:
        host.policy({"py": True, "network": [https(made.port, tls="intercept")]})
        url = f"https://localhost:{made.port}/"
        ran = host.python(ASK, url)
        assert ran.out.startswith("502") and "certificate" in ran.out, ran
        configure(host, trust=company(host))
        assert host.python(ASK, url).out == "served\n"


def test_trust_that_is_none_refuses_the_launch(host: Host) -> None:
    path = f"{host.root}/company.pem"
    with open(path, "w", encoding="utf-8") as file:
        file.write("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    configure(host, trust=path)
    host.policy({"py": True, "network": [https(1)]})
    ran = host.python("print('ran')")
    assert ran.status == 125 and "egress.trust" in ran.err, ran


def test_through_the_corporate_proxy_policy_first(host: Host) -> None:
    with server() as made:
        proxy = ConnectProxy({"api.example.com:80": made.port})
        configure(
            host,
            secrets={"way-out": {"file": private_file(f"{host.root}/way", "alice:pa ss\n", host.uid, host.gid)}},
            upstream_proxy={"url": f"http://127.0.0.1:{proxy.port}", "secret": "way-out"},
            no_proxy=["internal.example.com"],
        )
        local = {"hosts": [f"localhost:{made.port}"], "operations": ["http"], "allow_loopback": True}
        names = {"hosts": ["api.example.com", "www.internal.example.com"], "operations": ["http"]}
        host.policy({"py": True, "network": [names, local]})
        assert host.python(ASK, "http://api.example.com/x").out == "served\n"
        assert host.python(ASK, f"http://localhost:{made.port}/y").out == "served\n"
        assert host.python(ASK, "http://www.internal.example.com/").out.startswith("502")
        assert host.python(ASK, "http://evil.example.org/").out.startswith("403")
        proxy.close()
    assert [head.split()[1] for head in proxy.heads] == ["api.example.com:80"]
    assert "Proxy-Authorization: Basic YWxpY2U6cGEgc3M=" in proxy.heads[0]
    assert made.asked == ["GET /x", "GET /y"]


# ---- limits of the configuration


def test_bytes_of_a_job_are_limited_exactly(host: Host) -> None:
    code = (
        "import socket, sys\n"
        "s = socket.create_connection(('localhost', int(sys.argv[1])), 10)\n"
        "s.sendall(b'GET /?size=1000000 HTTP/1.1\\r\\nHost: localhost:%d\\r\\n\\r\\n' % int(sys.argv[1]))\n"
        "total = 0\n"
        "try:\n"
        "    while data := s.recv(65536): total += len(data)\n"
        "except OSError: pass\n"
        "print(total)\n"
    )
    with server() as made:
        configure(host, limits={"max_bytes": 200_000})
        tcp = {"hosts": [f"localhost:{made.port}"], "operations": ["tcp"], "allow_loopback": True}
        host.policy({"py": True, "network": [tcp]})
        ran = host.python(code, str(made.port))
    assert 0 < int(ran.out) <= 200_000, ran
    totals = ran.result["egress"]["hosts"]["localhost"]
    assert totals["bytes_up"] + totals["bytes_down"] == 200_000, totals


def test_uploads_of_a_job_are_limited(host: Host) -> None:
    code = (
        "import socket, sys\n"
        "s = socket.create_connection(('localhost', int(sys.argv[1])), 10)\n"
        "try:\n"
        "    for _ in range(100): s.sendall(b'x' * 10000)\n"
        "    s.recv(1)\n"
        "except OSError as error: print(type(error).__name__)\n"
    )
    with server() as made:
        configure(host, limits={"max_upload": 100_000})
        tcp = {"hosts": [f"localhost:{made.port}"], "operations": ["tcp"], "allow_loopback": True}
        host.policy({"py": True, "network": [tcp]})
        ran = host.python(code, str(made.port))
    assert "Error" in ran.out, ran
    assert ran.result["egress"]["hosts"]["localhost"]["bytes_up"] == 100_000


def test_a_rate_of_a_policy_document_holds(host: Host) -> None:
    code = (
        "import sys, urllib.error, urllib.request\n"
        "for _ in range(4):\n"
        "    try: print(urllib.request.urlopen(sys.argv[1], timeout=10).status)\n"
        "    except urllib.error.HTTPError as error: print(error.code)\n"
    )
    with server() as made:
        http = {"hosts": [f"localhost:{made.port}"], "operations": ["http"], "allow_loopback": True, "rate": "2/h"}
        host.policy({"py": True, "network": [http]})
        ran = host.python(code, f"http://localhost:{made.port}/")
    assert ran.out.split() == ["200", "200", "429", "429"], ran
