"""Staged writes through real launches: what is granted reaches the host, with its owner and mode; nothing else does."""

from __future__ import annotations

import os
import stat

import pytest

from tests.sandboxed import Host

pytestmark = pytest.mark.kernel


def files(*rules: tuple[list[str], list[str]], **more: object) -> dict[str, object]:
    return {"py": True, "sh": True, "cmd": ["cat", "mv", "rm", "ln", "mkdir", "rmdir", "chmod", "ls", "mkfifo"], "file": [
        {"patterns": patterns, "operations": operations, **more} for patterns, operations in rules
    ]}  # fmt: skip


def test_granted_names_are_committed_and_others_are_not(host: Host) -> None:
    host.write("out/.keep", "")
    host.policy(files((["out/*.txt"], ["write"])))
    ran = host.launch("sh", "-c", "echo a > out/a.txt; echo b > out/b.log; echo c > c.txt; cat out/a.txt")
    assert ran.out == "a\n", ran
    assert host.read("out/a.txt") == "a\n"
    assert sorted(os.listdir(f"{host.workspace}/out")) == [".keep", "a.txt"]
    assert not os.path.exists(f"{host.workspace}/c.txt")
    found = os.stat(f"{host.workspace}/out/a.txt")
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (host.uid, 0o644)
    assert [os.path.basename(row["path"]) for row in ran.result["committed"]] == ["a.txt"]
    assert [os.path.basename(row["path"]) for row in ran.result["refused"]] == ["b.log"]
    outcomes = {(e["resource"].rsplit("/", 1)[1], e["outcome"]) for e in host.audit() if e["layer"] == "commit"}
    assert outcomes == {("a.txt", "ALLOWED"), ("b.log", "DENIED")}


def test_a_write_grant_shows_no_content(host: Host) -> None:
    host.write("out/a.txt", "old secret")
    host.policy(files((["out/*.txt"], ["write"])))
    ran = host.launch("sh", "-c", "cat out/a.txt")
    assert "secret" not in ran.out
    assert host.read("out/a.txt") == "old secret", "what was not written is not touched"


def test_append_only_appends(host: Host) -> None:
    host.write("log/one", "first\n")
    host.write("log/two", "first\n")
    host.policy(files((["log/*"], ["append"])))
    ran = host.launch("sh", "-c", "echo more >> log/one; echo other > log/two")
    assert host.read("log/one") == "first\nmore\n", ran
    assert host.read("log/two") == "first\n", ran


def test_delete_and_rename(host: Host) -> None:
    for name in ("a.tmp", "b.tmp", "c.txt"):
        host.write(f"out/{name}", name)
    host.policy(files((["out/*"], ["read", "write"]), (["out/*.tmp"], ["delete"])))
    host.launch("sh", "-c", "rm out/a.tmp; rm out/c.txt; mv out/b.tmp out/d.txt")
    assert sorted(os.listdir(f"{host.workspace}/out")) == ["c.txt", "d.txt"]
    assert host.read("out/d.txt") == "b.tmp"


def test_atomic_save(host: Host) -> None:
    host.write("out/a.txt", "old", mode=0o600)
    host.policy(files((["out/a.txt"], ["read", "write"])))
    ran = host.launch("sh", "-c", "echo new > out/.a.txt.tmp && mv out/.a.txt.tmp out/a.txt")
    assert host.read("out/a.txt") == "new\n", ran
    assert stat.S_IMODE(os.stat(f"{host.workspace}/out/a.txt").st_mode) == 0o600, "an existing file keeps its mode"


def test_what_never_reaches_the_host(host: Host) -> None:
    """Attacks 3, 4, 18, 19: links, fifos, set-id bits; the directory of an outside file stays as it was."""
    host.write("out/.keep", "")
    host.policy(
        {**files((["out/**"], ["read", "write"])), "path": [{"patterns": ["out/**"], "operations": ["read", "write"]}]}
    )
    script = (
        "ln -s /etc/passwd out/link; mkfifo out/fifo; echo x > out/run; chmod 6755 out/run; chmod 755 out/run;"
        " mkdir out/dir; ln -s / out/dir/root; echo y > out/dir/file"
    )
    ran = host.launch("sh", "-c", script)
    assert sorted(os.listdir(f"{host.workspace}/out")) == [".keep", "dir", "run"], ran
    assert os.listdir(f"{host.workspace}/out/dir") == ["file"]
    assert not os.stat(f"{host.workspace}/out/run").st_mode & 0o7000


def test_a_size_limit(host: Host) -> None:
    host.write("out/.keep", "")
    host.policy(files((["out/*"], ["write"]), max_file_size=1000))
    ran = host.python("open('out/small', 'w').write('x' * 1000); open('out/big', 'w').write('x' * 1001)")
    assert sorted(os.listdir(f"{host.workspace}/out")) == [".keep", "small"], ran


def test_commit_always_and_success(host: Host) -> None:
    host.write("out/.keep", "")
    host.policy(files((["out/*"], ["write"])))
    host.launch("sh", "-c", "echo kept > out/a; exit 3")
    assert host.read("out/a") == "kept\n"
    host.policy(files((["out/*"], ["write"])), commit="success")
    assert host.launch("sh", "-c", "echo lost > out/b; exit 3").status == 3
    host.launch("sh", "-c", "echo kept > out/c")
    assert sorted(os.listdir(f"{host.workspace}/out")) == [".keep", "a", "c"]


def test_missing_parents_are_made(host: Host) -> None:
    host.policy(files((["reports/2026/*.txt"], ["write"])))
    host.write("x.ml", 'import file;\nfile.write("reports/2026/a.txt", "text");\n')
    ran = host.launch("x.ml")
    assert host.read("reports/2026/a.txt") == "text", ran


def test_a_deny_inside_a_writable_tree(host: Host) -> None:
    """Attack 9: a denied file that does not exist yet; no stub is left on the host."""
    host.write("src/a.py", "a")
    host.write("src/.git/config", "c")
    host.policy(
        {**files((["src/**"], ["read", "write"])), "path": [{"patterns": ["src/**"], "operations": ["read", "write"]}]},
        deny={
            "file": [{"patterns": ["src/.git/**", "**/.env"], "operations": ["read", "write"]}],
            "path": [{"patterns": ["src/.git/**"], "operations": ["write"]}],
        },
    )
    ran = host.launch(
        "sh",
        "-c",
        "mkdir -p src/.git/hooks; echo x > src/.git/hooks/pre-commit; echo y > src/.env; echo z > src/b.py; ls -a src",
    )
    assert sorted(os.listdir(f"{host.workspace}/src")) == [".git", "a.py", "b.py"], ran
    assert os.listdir(f"{host.workspace}/src/.git") == ["config"]
    assert host.read("src/.git/config") == "c"


def test_the_hosts_change_meanwhile_is_a_conflict(host: Host) -> None:
    path = host.write("out/a.txt", "old")
    host.policy(files((["out/a.txt"], ["read", "write"])))
    process = host.popen(
        "launch", "--", "sh", "-c", "echo job > out/a.txt; echo ready; cat", stdin=-1, stdout=-1, stderr=-1
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    host.write("out/a.txt", "host")
    _out, err = process.communicate(timeout=20)
    with open(path, encoding="utf-8") as file:
        assert file.read() == "host", err
    assert b"a.txt" in err


def test_scratch_is_limited(host: Host) -> None:
    host.write("out/.keep", "")
    host.policy(files((["out/*"], ["write"])), limits={"max_disk": "8MiB", "max_files": 200})
    code = (
        "import os\n"
        "try: open('out/big', 'wb').write(bytes(20_000_000)); print('WROTE')\n"
        "except OSError as error: print(error.errno)\n"
        "os.unlink('out/big')\n"
        "try:\n"
        "    for n in range(1000): open(f'out/{n}', 'w').close()\n"
        "    print('MADE')\n"
        "except OSError as error: print(error.errno)\n"
        "for n in range(1000):\n"
        "    if os.path.exists(f'out/{n}'): os.unlink(f'out/{n}')\n"
    )
    ran = host.python(code)
    assert ran.out == "28\n28\n", ran
