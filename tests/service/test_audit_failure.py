"""The audit's disk is full when a job is launched: nothing runs, unless it is configured to go on; refusals stay refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from tests.sandboxed import Host

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="mounts a small file system"),
]
# $1 the directory of the log, $2 uid, $3 gid; then the command. In a mount namespace of its own.
FULL = """
mount -t tmpfs -o "size=64k,mode=0755,uid=$2,gid=$3" full "$1" || exit 99
dd if=/dev/zero of="$1/ballast" bs=4k 2>/dev/null
shift
exec setpriv --reuid "$1" --regid "$2" --clear-groups -- sh -c 'shift 2; exec "$@"' sh "$@"
"""


def launch(host: Host, *words: str) -> tuple[subprocess.CompletedProcess[bytes], dict[str, Any]]:
    log, result = f"{host.root}/log", f"{host.workspace}/result.json"
    os.makedirs(log, exist_ok=True)
    host._own(log)
    command = host.command("launch", "--result", result, "--", *words)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", FULL, "sh", log, str(host.uid), str(host.gid),
         *command],
        capture_output=True, check=False, timeout=60, cwd=host.workspace, stdin=subprocess.DEVNULL,
        env=host.drop()["env"],
    )  # fmt: skip
    if not os.path.exists(result):
        return done, {}
    with open(result, encoding="utf-8") as file:
        return done, json.load(file)


def configured(host: Host, text: str) -> None:
    path = f"{host.root}/config.yaml"
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    host._own(path)


def test_nothing_runs_unaudited(host: Host) -> None:
    host.policy({"sh": True})
    done, result = launch(host, "sh", "-c", "echo ran")
    text = done.stderr.decode()
    assert (done.returncode, done.stdout, result) == (125, b"", {}), text
    assert "No space left on device" in text
    assert "audit.on_failure: continue" in text
    assert text.endswith("ended_by: launcher\n")


def test_what_is_configured_to_go_on_runs_and_says_so(host: Host) -> None:
    configured(host, "audit: {on_failure: continue}\n")
    host.policy({"sh": True})
    done, result = launch(host, "sh", "-c", "echo ran; exit 3")
    text = done.stderr.decode()
    assert (done.returncode, done.stdout) == (3, b"ran\n"), text
    assert "not audited: cannot write the audit log" in text
    assert "No space left on device" in result["audit"]
    assert (result["ended_by"], result["exit_code"]) == ("job", 3)


@pytest.mark.parametrize("on_failure", ["refuse", "continue"])
def test_a_refusal_keeps_its_status_and_reason(host: Host, on_failure: str) -> None:
    configured(host, f"audit: {{on_failure: {on_failure}}}\n")
    host.policy({"sh": True})
    done, _result = launch(host, "python3", "-c", "print('ran')")
    text = done.stderr.decode()
    assert (done.returncode, done.stdout) == (126, b""), text
    assert "may not be run" in text
    assert "this refusal is not in the audit log: cannot write the audit log" in text
    assert text.endswith("ended_by: policy\n")


def test_a_launch_that_is_audited_says_nothing_of_it(host: Host) -> None:
    host.policy({"sh": True})
    ran = host.launch("sh", "-c", "echo ran")
    assert (ran.out, ran.result["audit"]) == ("ran\n", "")
    assert "audit" not in ran.err
