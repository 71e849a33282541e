"""Attacks 16 and 17 where commands are listed: what is started is what is granted, however it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandboxed import Host, Ran

if TYPE_CHECKING:
    from collections.abc import Iterator

SAY = "print('R' + 'AN')"
REFUSED = 128 + 9


@pytest.fixture(scope="module")
def shell(attacked: Host) -> Iterator[Host]:
    """A shell and three scripts are granted, Python is not: their interpreter is there for them alone."""
    lines = {
        "plain": "/usr/bin/python3",
        "option": "/usr/bin/python3 -I",
        "env": "/usr/bin/env python3",
        "split": "/usr/bin/env -S python3 -I",
    }
    for name, line in lines.items():
        attacked.write(f"bin/{name}", f"#!{line}\nimport sys; print('{name}', *sys.argv[1:])\n", 0o755)
    granted = [f"{attacked.workspace}/bin/{name}" for name in lines]
    attacked.policy({"sh": True, "cmd": [*granted, "cat"], "file": [{"patterns": ["bin/**"], "operations": ["read"]}]})
    yield attacked


def run(host: Host, line: str) -> Ran:
    return host.launch("sh", "-c", line)


@pytest.mark.parametrize("name", ["plain", "option", "env", "split"])
def test_a17_granted_scripts_run(shell: Host, name: str) -> None:
    assert run(shell, f"{shell.workspace}/bin/{name} a b").out == f"{name} a b\n"


@pytest.mark.parametrize(
    "line",
    [
        'python3 -c "{say}"',
        'echo "{say}" | python3',
        'echo "{say}" | python3 -i {bin}/plain',
        'echo "{say}" | python3 -i -I {bin}/option',
        'echo "{say}" | python3 - {bin}/plain',
        'python3 -c "{say}" {bin}/plain',
        'python3 -I -c "{say}" {bin}/option',
        "python3 -x {bin}/plain",
        'env python3 -c "{say}"',
        'env python3 -c "{say}" {bin}/env',
        "env -S \"python3 -c '{say}'\" {bin}/split",
        "env A=1 python3 {bin}/env",
        "env -i {bin}/env",
        "cp {bin}/plain /tmp/plain; python3 /tmp/plain",
        'ln -s {bin}/plain /tmp/link; echo "{say}" > /tmp/x; python3 /tmp/link',
        "cat {bin}/plain > /tmp/same; python3 /tmp/same",
        '/lib64/ld-linux-x86-64.so.2 /usr/bin/python3 -c "{say}"',
        "/lib64/ld-linux-x86-64.so.2 /usr/bin/python3 {bin}/plain",
        'exec 3< /usr/bin/python3; /proc/self/fd/3 -c "{say}"',
        '/proc/self/root/usr/bin/python3 -c "{say}"',
        '/usr/bin/../bin/python3 -c "{say}"',
        'cd /usr/bin; ./python3 -c "{say}"',
    ],
)
def test_a17_no_other_start_of_their_interpreter(shell: Host, line: str) -> None:
    ran = run(shell, line.format(say=SAY, bin=f"{shell.workspace}/bin"))
    assert "RAN" not in ran.out and "plain" not in ran.out, ran


def test_a17_a_refused_start_is_recorded(shell: Host) -> None:
    ran = run(shell, f'python3 -c "{SAY}"')
    assert ran.status == REFUSED and "not run" in ran.err, ran
    recorded = [row for row in shell.audit() if row["outcome"] == "DENIED" and row["capability"] in {"py", "cmd"}]
    assert recorded and "python3" in recorded[-1]["resource"], recorded
