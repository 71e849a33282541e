"""Real programs, which know nothing of the sandbox, against local servers: by themselves and through the proxy variables."""

from __future__ import annotations

import http.server
import shutil
import ssl
import sys
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from launcher.egress import topology, truststore
from launcher.egress.certificates import CertificateAuthority
from tests.egress import upstreams
from tests.egress.site import make_site
from tests.egress.world import World, database, grant

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel
TUNNEL, OPENED, INDEX = "files.example.com", "api.example.com", "index.example.com"


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@dataclass
class Setting:
    world: World
    env: dict[str, str]

    def run(self, *argv: str, proxied: bool = False, seconds: float = 40, **env: str) -> tuple[int, str]:
        extra = topology.ENVIRONMENT if proxied else {}
        return self.world.run(argv, {**self.env, **extra, **env}, seconds)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("clients")
    outside = CertificateAuthority.create(["*"])
    (folder / "trust.pem").write_bytes(outside.certificate)
    authority = CertificateAuthority.create([OPENED], "clients")
    env = write_trust(folder, authority, outside)
    site = make_site(folder, f"https://{INDEX}")
    contexts = {}
    for name in (TUNNEL, OPENED, INDEX):
        certificate, key = outside.leaf(name)
        (folder / f"{name}.pem").write_bytes(key + certificate)
        contexts[name] = str(folder / f"{name}.pem")
    upstreams.KINDS["files"] = files_over_tls(site, contexts)
    upstreams.KINDS["sql"] = sql
    world = World(
        [
            grant([TUNNEL, INDEX], ("https", "http")),
            grant([f"{OPENED}/v1/**"], ("https",)),
            grant(["git.example.com:22"], ("tcp",)),
            database("postgresql://analytics-db:5432/sales"),
        ],
        options={"ca": (authority.certificate, authority.key), "anchors": outside.certificate.decode()},
        servers={443: "files", 80: "http", 22: "banner", 5432: "sql"},
    )
    yield Setting(world, {**env, "HOME": str(folder)})
    world.close()
    shutil.rmtree(folder)


def write_trust(folder: Path, authority: CertificateAuthority, outside: CertificateAuthority) -> dict[str, str]:
    """The job's trust store as truststore.files makes it, below `folder` instead of /etc/ssl."""
    java = b64decode(truststore.java_store(authority.certificate, str(folder / "trust.pem")))
    made = truststore.files(authority.certificate, outside.certificate, java)
    env = dict(truststore.ENVIRONMENT)
    for path, content in made.items():
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        env = {name: value.replace(path, str(target)) for name, value in env.items()}
    # Node takes the file beside its own list; here the outside is made up too.
    env["NODE_EXTRA_CA_CERTS"] = env["SSL_CERT_FILE"]
    return env


def files_over_tls(
    site: Path, certificates: dict[str, str]
) -> Callable[[socket.socket, Callable[[bytes], None]], None]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: object) -> None:
            return

        def translate_path(self, path: str) -> str:
            self.directory = str(site)
            return super().translate_path(path)

    def serve(conn: socket.socket, _seen: Callable[[bytes], None]) -> None:
        contexts = {}
        for name, file in certificates.items():
            contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            contexts[name].load_cert_chain(file)
        first = contexts[TUNNEL]

        def choose(inner: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            inner.context = contexts[name or TUNNEL]

        first.sni_callback = choose
        with first.wrap_socket(conn, server_side=True) as inner:
            Handler(inner, ("", 0), None)  # type: ignore[arg-type]

    return serve


def sql(conn: socket.socket, seen: Callable[[bytes], None]) -> None:
    """Enough of PostgreSQL for `psql -c`: one row for every query."""
    while (packet := conn.recv(4096))[4:8] == (80877103).to_bytes(4, "big"):
        conn.sendall(b"N")
    seen(packet)
    conn.sendall(b"R\0\0\0\x08\0\0\0\0" + b"S\0\0\0\x19client_encoding\0UTF8\0" + b"Z\0\0\0\x05I")
    while (query := conn.recv(4096))[:1] == b"Q":
        seen(query)
        row = b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0"
        row = b"T" + (len(row) - 1).to_bytes(4, "big") + row[5:]
        conn.sendall(row + b"D\0\0\0\x0c\0\x01\0\0\0\x0242" + b"C\0\0\0\x0dSELECT 1\0" + b"Z\0\0\0\x05I")


# ---- curl


@pytest.mark.parametrize("proxied", [False, True])
def test_curl(setting: Setting, proxied: bool) -> None:
    need("curl")
    assert setting.run("curl", "-sS", f"https://{TUNNEL}/v1/hello", proxied=proxied) == (0, "hello from outside\n")
    status, output = setting.run("curl", "-sS", f"http://{TUNNEL}/x", proxied=proxied)
    assert status == 0 and output.startswith("GET /x HTTP/1.1")
    # Through interception, with the launch's own authority in the trust store; the path rule holds inside TLS.
    assert setting.run("curl", "-sS", f"https://{OPENED}/v1/hello", proxied=proxied) == (0, "hello from outside\n")
    status, output = setting.run("curl", "-sS", f"https://{OPENED}/secret", proxied=proxied)
    assert "path not allowed" in output and "network.https:api.example.com/secret" in output


def test_curl_denials_are_readable(setting: Setting) -> None:
    need("curl")
    status, output = setting.run("curl", "-sS", "https://evil.example.org/")
    assert status == 6 and "resolve" in output
    status, output = setting.run("curl", "-sS", "https://evil.example.org/", proxied=True)
    assert status == 56 and "403" in output
    status, output = setting.run("curl", "-sS", "http://169.254.169.254/latest/meta-data/")
    assert status == 0 and "ip literal not allowed" in output
    status, output = setting.run("curl", "-sS", "-k", "--connect-to", f"evil:443:{TUNNEL}:443", "https://evil/")
    assert status == 35 and "access denied" in output
    status, _ = setting.run("curl", "-sS", "--socks5-hostname", "127.0.0.1:3128", "https://evil.example.org/")
    assert status == 97
    assert not [r for r in setting.world.collect() if "evil" in r.get("lookup", "")]


def test_curl_with_no_proxy_and_other_tricks(setting: Setting) -> None:
    need("curl")
    for extra in (["--noproxy", "*"], ["--dns-servers", "9.9.9.9"], ["-6"], ["--doh-url", "https://1.1.1.1/dns-query"]):
        status, _ = setting.run("curl", "-sS", "-m", "5", *extra, "https://evil.example.org/", NO_PROXY="*")
        assert status != 0
    status, output = setting.run("curl", "-sS", "--socks5-hostname", "127.0.0.1:3128", f"https://{TUNNEL}/v1/hello")
    assert (status, output) == (0, "hello from outside\n")


# ---- others


PYTHON = "import urllib.request; print(urllib.request.urlopen('https://{}/v1/hello').read().decode(), end='')"


@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.parametrize("name", [TUNNEL, OPENED])
def test_python(setting: Setting, name: str, proxied: bool) -> None:
    assert setting.run("python3", "-c", PYTHON.format(name), proxied=proxied) == (0, "hello from outside\n")


@pytest.mark.parametrize("proxied", [False, True])
def test_git_over_https(setting: Setting, tmp_path: Path, proxied: bool) -> None:
    need("git")
    status, output = setting.run(
        "git", "clone", "-q", f"https://{TUNNEL}/repo.git", str(tmp_path / "c"), proxied=proxied
    )
    assert status == 0, output
    assert (tmp_path / "c" / ".git" / "HEAD").exists()


def test_pip(setting: Setting, tmp_path: Path) -> None:
    argv = ["-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check", "--target", str(tmp_path)]
    status, output = setting.run(
        sys.executable, *argv, "--index-url", f"https://{INDEX}/simple/", "--no-cache-dir", "tinypkg"
    )
    assert status == 0, output
    assert (tmp_path / "tinypkg.py").read_text() == "ANSWER = 42\n"


@pytest.mark.full
def test_npm(setting: Setting, tmp_path: Path) -> None:
    need("npm")
    argv = [
        "install",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--prefix",
        str(tmp_path),
        "--cache",
        str(tmp_path / "c"),
    ]
    status, output = setting.run("npm", *argv, "--registry", f"https://{INDEX}/", "tinynpm", seconds=60)
    assert status == 0, output
    assert (tmp_path / "node_modules" / "tinynpm" / "index.js").read_text() == "module.exports = 42\n"


def test_psql(setting: Setting) -> None:
    need("psql")
    good = ("psql", "-X", "-A", "-t", "-c", "select 42")
    status, output = setting.run(*good, "postgresql://u@analytics-db:5432/sales")
    assert (status, output.strip()) == (0, "42")
    status, output = setting.run(*good, "postgresql://u@analytics-db:5432/secrets")
    assert status == 2 and "FATAL:  egress denied by sandbox policy: database not allowed" in output


def test_node_fetch(setting: Setting) -> None:
    need("node")
    program = "fetch('https://{}/v1/hello').then(r => r.text()).then(t => process.stdout.write(t))"
    for name in (TUNNEL, OPENED):
        assert setting.run("node", "-e", program.format(name)) == (0, "hello from outside\n")


def test_ssh_reaches_its_server(setting: Setting) -> None:
    need("ssh")
    # The test's server stops after its banner, which is enough to see that ssh reached it.
    argv = ["timeout", "1", "ssh", "-v", "-o", "BatchMode=yes", "git.example.com"]
    _, output = setting.run(*argv)
    assert "remote software version test" in output


JAVA = """
import java.net.URI; import java.net.http.*;
public class Fetch { public static void main(String[] a) throws Exception {
  var r = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(a[0])).build(), HttpResponse.BodyHandlers.ofString());
  System.out.print(r.body()); } }
"""


@pytest.mark.full
def test_java_http_client(setting: Setting, tmp_path: Path) -> None:
    need("javac")
    (tmp_path / "Fetch.java").write_text(JAVA)
    for name in (TUNNEL, OPENED):
        status, output = setting.run("java", str(tmp_path / "Fetch.java"), f"https://{name}/v1/hello", seconds=60)
        assert status == 0 and output.endswith("hello from outside\n"), output


def test_no_name_that_is_not_granted_was_asked_for(setting: Setting) -> None:
    """Last in the file: whatever the programs above tried, only granted names were resolved outside."""
    lookups = {record["lookup"] for record in setting.world.collect(0.1) if "lookup" in record}
    assert lookups <= {TUNNEL, OPENED, INDEX, "git.example.com", "analytics-db"}
