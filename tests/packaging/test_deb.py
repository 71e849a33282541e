"""The Debian package, built here and installed for real: on a root file system that is this machine's below a tmpfs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="dpkg -i needs root"),
    pytest.mark.timeout(300),
]
# A root of its own for what dpkg writes; not chroot(2), in which the kernel refuses new user namespaces.
# $1 a directory, $2 the package, $3 the script.
ELSEWHERE = """
mount -t tmpfs space "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
for tree in proc sys dev; do mount --rbind "/$tree" "$1/root/$tree"; done
mount -t tmpfs tmp "$1/root/tmp"
mount -t tmpfs run "$1/root/run"
rm -rf "$1/root/etc/mlsandbox" "$1/root/var/lib/mlsandbox" "$1/root/var/log/mlsandbox"
cp "$2" "$1/root/tmp/new.deb"
cp "$3" "$1/root/tmp/script"
cd "$1/root"
mkdir -p before
pivot_root . before
umount -l /before
cd /
exec sh -e /tmp/script
"""
POLICY = "policy: {name: p, capabilities: {cmd: [echo], file: [{patterns: ['~/**'], operations: [read, write]}]}}"
SCRIPT = f"""
step() {{ echo "=== $1"; }}
step install; dpkg -i /tmp/new.deb
step version; mlsandbox --version
step init; ls /etc/mlsandbox
step bundle; ls /usr/lib/mlsandbox/launcher/__pycache__
useradd --create-home carla
echo "{POLICY}" > /tmp/p.yaml
mlsandbox admin policy create /tmp/p.yaml
mlsandbox admin grant p --user carla
step launch; mlsandbox launch --user carla --workspace /home/carla -- echo hello from $PWD
step completion; bash -c '. /usr/share/bash-completion/completions/mlsandbox; complete -p mlsandbox'
step manual; zcat /usr/share/man/man1/mlsandbox.1.gz | groff -man -ww -Tascii | head -3
step upgrade; dpkg -i /tmp/new.deb
step kept; mlsandbox admin show --user carla
step verify; mlsandbox audit verify
step remove; dpkg -r mlsandbox
step removed; ls -d /usr/lib/mlsandbox /usr/bin/mlsandbox 2>&1 || true
ls -d /etc/mlsandbox/policies/p.yaml /var/lib/mlsandbox/grants.db
step purge; dpkg -P mlsandbox
step purged; ls -d /var/lib/mlsandbox /var/cache/mlsandbox 2>&1 || true
ls -d /etc/mlsandbox/policies/p.yaml /var/log/mlsandbox/audit.jsonl
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [ROOT / "script" / "package", "deb", "--output", output], check=True, timeout=250, capture_output=True
    )
    return next(output.glob("*.deb"))


@pytest.fixture(scope="module")
def steps(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    directory = tmp_path_factory.mktemp("install")
    script = directory / "script"
    script.write_text(SCRIPT, encoding="ascii")
    space = directory / "space"
    space.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", ELSEWHERE, "sh", space, package, script],
        capture_output=True, text=True, check=False, timeout=200, stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    parts = re.split(r"^=== (\w+)\n", done.stdout, flags=re.MULTILINE)
    yield dict(zip(parts[1::2], parts[2::2], strict=True))


def test_it_installs_with_a_configuration_and_the_bundle(steps: dict[str, str]) -> None:
    assert steps["version"].startswith("mlsandbox 0.")
    assert steps["init"].split() == ["config.yaml", "policies", "profiles"]
    assert ".bundle" in steps["bundle"]


def test_a_job_runs_in_what_was_installed(steps: dict[str, str]) -> None:
    assert steps["launch"] == "hello from /\n"
    assert steps["completion"].endswith("_mlsandbox mlsandbox\n")
    assert "MLSANDBOX(1)" in steps["manual"]


def test_an_upgrade_keeps_policies_grants_and_the_audit_chain(steps: dict[str, str]) -> None:
    assert "Policies: p" in steps["kept"]
    assert steps["verify"].startswith("verified:")


def test_removal_keeps_what_is_the_administrators_and_purge_the_log(steps: dict[str, str]) -> None:
    gone = "No such file or directory"
    assert steps["removed"].count(gone) == 2
    assert "/etc/mlsandbox/policies/p.yaml\n/var/lib/mlsandbox/grants.db\n" in steps["removed"]
    assert steps["purged"].count(gone) == 2
    assert "/etc/mlsandbox/policies/p.yaml\n/var/log/mlsandbox/audit.jsonl\n" in steps["purged"]


def test_units_are_well_formed(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True, timeout=60)
    units = sorted((tmp_path / "usr/lib/systemd/system").iterdir())
    assert [unit.name for unit in units] == [
        "mlsandbox-rotate.service", "mlsandbox-rotate.timer", "mlsandbox.service", "mlsandbox.socket",
    ]  # fmt: skip
    for unit in units:
        sections = re.findall(r"^\[(\w+)\]$", unit.read_text(encoding="ascii"), re.MULTILINE)
        assert sections[0] == "Unit"
        assert {"service": "Service", "socket": "Socket", "timer": "Timer"}[unit.suffix[1:]] in sections
