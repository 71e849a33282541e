"""Launching real jobs in tests: an installed mlsandbox, a policy, a workspace, as root and as an ordinary user.

The package is installed once per run from a built wheel into a directory that everybody can read, because a checkout
often is not, and because what is tested then is what users get.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
USER = "mlsandbox-test"
PYTHON = "/usr/bin/python3"
# Times as long as usual: on an emulated processor everything takes ten times its time.
PATIENCE = int(os.environ.get("MLSANDBOX_TEST_PATIENCE", "1"))


def install() -> str:
    """A fresh installation; the caller removes it. MLSANDBOX_TEST_PREFIX names one to use instead."""
    ready = os.environ.get("MLSANDBOX_TEST_PREFIX")
    if ready:
        return ready
    prefix = tempfile.mkdtemp(prefix="mlsandbox-install-")
    os.chmod(prefix, 0o755)
    subprocess.run([f"{REPOSITORY}/script/install", "--no-link", prefix], check=True, capture_output=True)
    return prefix


def ordinary_user() -> pwd.struct_passwd:
    """The account that tests drop to: made once where we are root, else our own."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", USER], check=True, capture_output=True)
        return pwd.getpwnam(USER)


class Ran:
    """What one launch did. `result` is the --result document, {} where there is none."""

    def __init__(self, process: subprocess.CompletedProcess[bytes], result: dict[str, Any]) -> None:
        self.status = process.returncode
        self.out = process.stdout.decode("utf-8", "replace")
        self.err = process.stderr.decode("utf-8", "replace")
        self.raw = process.stdout
        self.result = result

    @property
    def ended_by(self) -> str:
        return self.err.strip().splitlines()[-1].removeprefix("ended_by: ")

    def __repr__(self) -> str:
        return f"status {self.status}\n--- out\n{self.out[-3000:]}\n--- err\n{self.err[-3000:]}"


class Host:
    """One caller with a root directory and a workspace of his own. `who` is "root" or "user"."""

    def __init__(self, prefix: str, who: str) -> None:
        self.prefix = prefix
        self.who = who
        account = pwd.getpwuid(0) if who == "root" else ordinary_user()
        self.name, self.uid, self.gid, self.home = account.pw_name, account.pw_uid, account.pw_gid, account.pw_dir
        # not below /tmp or /var/tmp, which are private and writable in a sandbox
        base = "/srv" if os.geteuid() == 0 else os.path.expanduser("~")
        os.makedirs(base, exist_ok=True)
        self.top = tempfile.mkdtemp(prefix="mlsandbox-test-", dir=base)
        self.root = f"{self.top}/root"
        self.workspace = f"{self.top}/workspace"
        os.chmod(self.top, 0o755)
        for path in (self.root, f"{self.root}/policies", self.workspace):
            os.mkdir(path)
            self._own(path)

    def _own(self, path: str) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def remove(self) -> None:
        shutil.rmtree(self.top, ignore_errors=True)

    def policy(self, capabilities: Mapping[str, Any], name: str = "test", **rest: Any) -> None:
        """Installs a policy that applies to this user."""
        document = {"policy": {"applies_to": {"users": [self.name]}, "capabilities": capabilities, **rest}}
        path = f"{self.root}/policies/{name}.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file)
        self._own(path)

    def write(self, name: str, content: str | bytes, mode: int = 0o644) -> str:
        """A file of the workspace."""
        path = os.path.join(self.workspace, name)
        missing = []
        parent = os.path.dirname(path)
        while not os.path.isdir(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        for directory in reversed(missing):
            os.mkdir(directory)
            self._own(directory)
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(path, mode)
        self._own(path)
        return path

    def read(self, name: str) -> str:
        with open(os.path.join(self.workspace, name), encoding="utf-8") as file:
            return file.read()

    def command(self, *words: str) -> list[str]:
        return [f"{self.prefix}/bin/mlsandbox", "--root", self.root, *words]

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Any mlsandbox command as this caller."""
        options["timeout"] = options.get("timeout", 60) * PATIENCE
        return subprocess.run(
            self.command(*words), capture_output=True, check=False, cwd=self.workspace, **self.drop(), **options
        )

    def drop(self) -> dict[str, Any]:
        """subprocess arguments that become this caller, with an environment that is his."""
        environment = {"PATH": os.environ["PATH"], "HOME": self.home, "LANG": "C.UTF-8", "USER": self.name}
        if os.geteuid() == self.uid:
            return {"env": environment}
        return {"user": self.uid, "group": self.gid, "extra_groups": [], "env": environment}

    def popen(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(*words), cwd=self.workspace, **self.drop(), **options)

    def launch(self, *words: str, options: Sequence[str] = (), input: bytes | None = b"", **rest: Any) -> Ran:
        """`launch -- WORDS`, or `launch PROGRAM.ml ARGS`."""
        result = f"{self.workspace}/.result-{os.urandom(4).hex()}"
        job = list(words) if words[0].endswith(".ml") else ["--", *words]
        process = self.run("launch", "--result", result, *options, *job, input=input, **rest)
        document: dict[str, Any] = {}
        if os.path.exists(result):
            with open(result, encoding="utf-8") as file:
                document = json.load(file)
            os.unlink(result)
        return Ran(process, document)

    def python(self, code: str, *arguments: str, options: Sequence[str] = (), **rest: Any) -> Ran:
        """Python code as the job (the policy must grant `py`)."""
        return self.launch("python3", "-I", "-c", code, *arguments, options=options, **rest)

    def audit(self) -> list[dict[str, Any]]:
        shown = self.run("audit", "show", "--json")
        return [json.loads(line) for line in shown.stdout.decode().splitlines() if line.startswith("{")]


def hosts(prefix: str) -> Iterator[Host]:
    """Each caller that this process can be."""
    if os.geteuid() == 0:
        yield Host(prefix, "root")
    yield Host(prefix, "user")
