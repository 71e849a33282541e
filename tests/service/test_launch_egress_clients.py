"""Real programs in real launches, by real names: a corporate proxy of the test's stands for the internet.

The heavy ones (Java, Node, npm, PostgreSQL, ssh) run with `--full`; `script/setup --full` installs them. What they share with
the light ones, the names, the trust store, the tunnel and the interception, is what curl, git, pip and Python show in every run.
"""

from __future__ import annotations

import glob
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from launcher.enforce import interpreter
from tests.egress.site import make_site
from tests.sandboxed import ordinary_user
from tests.service.local_servers import COMPANY, ConnectProxy
from tests.service.test_launch_egress_secrets import company, configure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sandboxed import Host, Ran

pytestmark = pytest.mark.kernel
TUNNEL, OPENED = "files.example.com", "api.example.com"
HELLO = "hello from outside\n"
WEB = [{"hosts": [TUNNEL], "operations": ["https"]}, {"hosts": [f"{OPENED}/v1/**"], "operations": ["https"]}]


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: script/setup --full")
    return found


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectProxy]:
    """Two sites over TLS behind a proxy that leads to them by name."""
    folder = tmp_path_factory.mktemp("site")
    site = make_site(folder, f"https://{TUNNEL}")
    servers = [_site(site, name) for name in (TUNNEL, OPENED)]
    names = (f"{TUNNEL}:443", f"{OPENED}:443")
    proxy = ConnectProxy(dict(zip(names, [server.server_address[1] for server in servers], strict=True)))
    yield proxy
    proxy.close()
    for server in servers:
        server.shutdown()
        server.server_close()


def _site(site: Path, name: str) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(site))

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = COMPANY.leaf(name)
    with tempfile.NamedTemporaryFile() as file:
        file.write(key + certificate)
        file.flush()
        context.load_cert_chain(file.name)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def online(host: Host, internet: ConnectProxy) -> Host:
    configure(host, trust=company(host), upstream_proxy=f"http://127.0.0.1:{internet.port}")
    return host


READ_WRITE = [{"patterns": ["@base/**"], "operations": ["read", "write", "delete"]}]


def grant(host: Host, *network: dict[str, Any], **capabilities: Any) -> None:
    paths = [{"patterns": ["@base/**"], "operations": ["read", "write"]}]
    host.policy({"file": READ_WRITE, "path": paths, "network": [*WEB, *network], **capabilities})


def launch(host: Host, *words: str, **rest: Any) -> Ran:
    return host.launch(*words, timeout=120, **rest)


def refused(host: Host) -> list[str]:
    """Who was refused, by name and port."""
    events = [event for event in host.audit() if event["event"] == "egress"]
    return [event["resource"] for event in events if event["outcome"] == "DENIED"]


# ---- in every run


def test_curl(online: Host) -> None:
    need("curl")
    grant(online, cmd=["curl:*"])
    for name in (TUNNEL, OPENED):
        assert launch(online, "curl", "-sS", f"https://{name}/v1/hello").out == HELLO
        assert launch(online, "curl", "-sS", "--noproxy", "*", f"https://{name}/v1/hello").out == HELLO
    ran = launch(online, "curl", "-sS", f"https://{OPENED}/secret")
    assert "path not allowed" in ran.out and "not granted" not in ran.out, ran
    assert launch(online, "curl", "-sS", "--noproxy", "*", "https://evil.example.org/").status == 6
    assert f"{OPENED}:443" in refused(online)


def test_git_over_https(online: Host) -> None:
    need("git")
    grant(online, cmd=["@git"])
    for number, variables in enumerate(({}, {"no_proxy": "*", "NO_PROXY": "*"})):
        environment = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        grant(online, cmd=["@git"], env=list(variables))
        ran = launch(online, "git", "clone", "-q", f"https://{TUNNEL}/repo.git", f"c{number}", options=environment)
        assert ran.status == 0, ran
        assert "ref:" in online.read(f"c{number}/.git/HEAD")


def test_pip(online: Host) -> None:
    grant(online, py=True)
    words = [
        "-m",
        "pip",
        "install",
        "-q",
        "--no-input",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--target",
        "t",
    ]
    ran = launch(online, "python3", *words, "--index-url", f"https://{TUNNEL}/simple/", "tinypkg")
    if "No module named pip" in ran.err:
        pytest.skip("the system's Python has no pip: script/setup --full")
    assert ran.status == 0, ran
    assert online.read("t/tinypkg.py") == "ANSWER = 42\n"


def test_python(online: Host) -> None:
    grant(online, py=True)
    code = "import urllib.request; print(urllib.request.urlopen('https://{}/v1/hello').read().decode(), end='')"
    for name in (TUNNEL, OPENED):
        assert online.python(code.format(name)).out == HELLO


# ---- the heavy ones


@pytest.mark.full
def test_requests(online: Host) -> None:
    if not glob.glob("/usr/lib/python3/dist-packages/requests"):
        pytest.skip("python3-requests is not installed: script/setup --full")
    grant(online, py=True)
    code = "import requests; print(requests.get('https://{}/v1/hello', timeout=10).text, end='')"
    for name in (TUNNEL, OPENED):
        ran = online.python(code.format(name))
        assert ran.out == HELLO, ran


@pytest.mark.full
def test_node_fetch(online: Host) -> None:
    need("node")
    grant(online, js=True)
    program = "fetch('https://{}/v1/hello').then(r => r.text()).then(t => process.stdout.write(t))"
    for name in (TUNNEL, OPENED):
        ran = launch(online, "node", "-e", program.format(name))
        assert ran.out == HELLO, ran


@pytest.mark.full
def test_npm(online: Host) -> None:
    need("npm")
    grant(online, cmd=["@npm"], js=True, sh=True)
    words = ["install", "--no-audit", "--no-fund", "--no-update-notifier", "--prefix", "p", "--cache", "p/cache"]
    ran = launch(online, "npm", *words, "--registry", f"https://{TUNNEL}/", "tinynpm")
    assert ran.status == 0, ran
    assert online.read("p/node_modules/tinynpm/index.js") == "module.exports = 42\n"


JAVA = """
import java.net.URI; import java.net.http.*;
public class Fetch { public static void main(String[] a) throws Exception {
  var r = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(a[0])).build(), HttpResponse.BodyHandlers.ofString());
  System.out.print(r.body()); } }
"""


@pytest.mark.full
def test_java_http_client(online: Host) -> None:
    need("javac")
    online.write("Fetch.java", JAVA)
    # Debian keeps the JDK's settings in /etc, which a job sees only as far as it is granted
    settings = [{"patterns": ["/etc/java-*/**"], "operations": ["read"]}]
    grant(online, cmd=["*"], file=[*READ_WRITE, *settings])
    for name in (TUNNEL, OPENED):
        ran = launch(online, "java", "Fetch.java", f"https://{name}/v1/hello")
        assert ran.out == HELLO, ran


@contextmanager
def postgres() -> Iterator[int]:
    """A server of its own on a free port, with a database `sales`; the port."""
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1:]
    if not programs:
        pytest.skip("postgresql is not installed: script/setup --full")
    user = "postgres" if os.geteuid() == 0 else None
    folder, port = tempfile.mkdtemp(prefix="mlsandbox-pg-"), _free_port()
    if user:
        shutil.chown(folder, user)
    quiet: Any = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    initdb = [f"{programs[0]}/initdb", "-D", f"{folder}/data", "-U", "boss", "-A", "trust", "-N", "--no-instructions"]
    subprocess.run(initdb, check=True, timeout=60, **quiet)
    settings = ["fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={port}"]
    words = [word for text in settings for word in ("-c", text)]
    server = subprocess.Popen([f"{programs[0]}/postgres", "-D", f"{folder}/data", *words], **quiet)
    try:
        create = [f"{programs[0]}/createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "boss", "sales"]
        _until(lambda: subprocess.run(create, check=False, **quiet).returncode == 0)
        yield port
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _until(done: Any) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end, "the server did not start"
        time.sleep(0.1)


@pytest.fixture
def with_database(installation: str) -> Iterator[None]:
    """The optional packages of the ML `database` module in the installation, as mlsandbox[postgres] would bring them."""
    import psycopg

    source = os.path.dirname(os.path.dirname(psycopg.__file__))
    (target,) = glob.glob(f"{installation}/lib/python3*/site-packages")
    names = [name for name in interpreter._DATABASE if os.path.exists(f"{source}/{name}")]
    names = [name for name in names if not os.path.exists(f"{target}/{name}")]
    for name in names:
        copy = shutil.copytree if os.path.isdir(f"{source}/{name}") else shutil.copy
        copy(f"{source}/{name}", f"{target}/{name}")
    yield
    for name in names:
        shutil.rmtree(f"{target}/{name}", ignore_errors=True)


@pytest.mark.full
@pytest.mark.usefixtures("with_database")
def test_psql_and_the_ml_database_module(online: Host) -> None:
    """The start-up packet is read: another database, and another user than the grant's, are refused in psql's own words."""
    need("psql")
    with postgres() as port:
        url = f"postgresql://boss@localhost:{port}"
        host = [{"connections": [f"{url}/sales"], "operations": ["select"]}]
        grant(online, database=host, cmd=["psql:*", "/usr/lib/postgresql/*/bin/psql", "/usr/share/postgresql-common/*"])
        psql = max(glob.glob("/usr/lib/postgresql/*/bin/psql"))
        ran = launch(online, psql, "-X", "-At", "-c", "select 40 + 2", f"{url}/sales")
        assert ran.out == "42\n", ran
        for other in (f"{url}/postgres", f"postgresql://mallory@localhost:{port}/sales"):
            ran = launch(online, psql, "-X", "-At", "-c", "select 1", other)
            assert ran.status == 2 and "FATAL:  egress denied by sandbox policy: database not allowed" in ran.err, ran
        online.write(
            "sales.ml",
            "import database;\n"
            f'connection = database.connect("{url}/sales");\n'
            'print(connection.query("select 40 + 2 as n"));\n'
            f'try {{ database.connect("{url}/postgres"); }} catch (e) {{ print("refused"); }}\n',
        )
        ran = launch(online, "sales.ml")
        assert "42" in ran.out and ran.out.endswith("refused\n"), ran


@contextmanager
def sshd(folder: str) -> Iterator[tuple[int, str]]:
    """A server on a free port whose one key is `folder/key`; the port, and the account to log in with."""
    server = "/usr/sbin/sshd"
    if not os.path.exists(server) or os.geteuid() != 0:
        pytest.skip("openssh-server, as root: script/setup --full")
    account, port = ordinary_user(), _free_port()
    for name in ("hostkey", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
    shutil.copy(f"{folder}/key.pub", f"{folder}/authorized")
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    settings = [
        f"Port={port}", "ListenAddress=127.0.0.1", f"HostKey={folder}/hostkey", "PidFile=none", "UsePAM=yes",
        f"AuthorizedKeysFile={folder}/authorized", "StrictModes=no", "PasswordAuthentication=no",
    ]  # fmt: skip
    options = [word for text in settings for word in ("-o", text)]
    process = subprocess.Popen([server, "-D", "-e", "-f", "/dev/null", *options], stderr=subprocess.DEVNULL)
    try:
        _until(lambda: _answers(port))
        yield port, account.pw_name
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.full
def test_git_over_ssh(online: Host, internet: ConnectProxy) -> None:
    need("ssh")
    keys = tempfile.mkdtemp(prefix="mlsandbox-ssh-", dir="/srv")
    os.chmod(keys, 0o755)
    with sshd(keys) as (port, login):
        internet.routes["git.example.com:22"] = port
        repository = f"{keys}/repo.git"
        subprocess.run(["git", "clone", "-q", "--bare", "--no-hardlinks", ".", repository], check=True)
        subprocess.run(["chown", "-R", login, repository], check=True)
        with open(f"{keys}/key", encoding="utf-8") as file:
            online.write("deploy", file.read(), 0o600)
        tcp = {"hosts": ["git.example.com:22"], "operations": ["tcp"]}
        grant(online, tcp, cmd=["@git", "ssh:*"], sh=True, env=["GIT_SSH_COMMAND"])
        command = "ssh -i deploy -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes"
        options = ["--env", f"GIT_SSH_COMMAND={command}"]
        ran = launch(
            online,
            "git",
            "-c",
            "safe.directory=*",
            "clone",
            "-q",
            f"{login}@git.example.com:{repository}",
            "cloned",
            options=options,
        )
        assert ran.status == 0, ran
        assert "ref:" in online.read("cloned/.git/HEAD")
        ran = launch(online, "git", "clone", "-q", f"{login}@other.example.com:{repository}", "no", options=options)
        assert ran.status != 0 and "Could not resolve" in ran.err, ran
    shutil.rmtree(keys)
