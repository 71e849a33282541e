from __future__ import annotations

import pytest

from launcher.capability import CommandPattern, Scope
from launcher.errors import DocumentError

SCOPE = Scope("/home/user", "/work", "/work/sub")

NARROW = [
    ("git", "git", True),
    ("git", "git status -s", True),
    ("git:*", "git push", True),
    ("git", "git-lfs", False),
    ("git", "/usr/bin/git status", True),
    ("git", "/tmp/git status", False),
    ("git", "/usr/bin/../../tmp/git status", False),
    ("git status", "git status", True),
    ("git status", "git status -s", False),
    ("git status", "git", False),
    ("git status:*", "git status -s", True),
    ("git status:*", "git statusx", False),
    ("git", "GIT", False),
    ("npm run test:unit", "npm run test:unit", True),
    ("npm run test:unit", "npm run test unit", False),
    (".venv/bin/*", "/work/.venv/bin/pytest -q", True),
    (".venv/bin/*", "../.venv/bin/pytest", True),
    (".venv/bin/*", "/work/.venv/bin/sub/x", False),
    ("/usr/bin/git", "/usr/bin/git push", True),
    ("/usr/bin/git", "git push", False),
    ("*", "anything at all", True),
]


@pytest.mark.parametrize(("pattern", "command", "expected"), NARROW)
def test_allow_is_narrow(pattern: str, command: str, expected: bool) -> None:
    assert CommandPattern.parse(pattern, SCOPE).matches(command.split()) is expected


def test_an_empty_command_matches_nothing() -> None:
    assert not CommandPattern.parse("*", SCOPE).matches([""])
    assert not CommandPattern.parse("git", SCOPE).matches([])


def test_a_list_is_exact() -> None:
    pattern = CommandPattern.parse(("git", "commit", "-m", "a b", "*"), SCOPE)
    assert pattern.matches(["git", "commit", "-m", "a b", "*"])
    assert not pattern.matches(["git", "commit", "-m", "a b", "*", "x"])
    assert not pattern.matches(["git", "commit", "-m", "a b", "c"])
    assert CommandPattern.parse(("/opt/a*",), SCOPE).matches(["/opt/a*"])
    assert not CommandPattern.parse(("/opt/a*",), SCOPE).matches(["/opt/ab"])


def test_the_file_decides_when_the_trusted_side_looked_it_up() -> None:
    programs = {"git": "/opt/git/bin/git"}
    named, pathed = CommandPattern.parse("git", SCOPE), CommandPattern.parse("/opt/git/bin/*", SCOPE)
    assert named.matches(["/opt/git/bin/git"], programs)
    assert not named.matches(["/usr/bin/git"], programs)
    assert pathed.matches(["git"], programs)


BROAD = [
    ("git push", "git push", True),
    ("git push", "git push origin main", True),
    ("git push", "git pushx", False),
    ("git push", "git log push", False),
    ("git push", "git -C dir push", True),
    ("git push", "git --no-pager -c a=b push", True),
    ("git push", "GIT PUSH", True),
    ("git push", "/opt/strange/git push", True),
    ("git push", "X=1 git push", True),
    ("git push", "env -i A=b git push", True),
    ("git push", "env -u HOME git push", True),
    ("git push", "xargs -n 1 git push", True),
    ("git push", "nice -n 5 timeout -k 3 10 git push", True),
    ("git push", "find . -exec git push ;", True),
    ("git push", "/lib64/ld-linux-x86-64.so.2 /usr/bin/git push", True),
    ("git push", "sudo -E git push", True),
    ("git push", "busybox git push", True),
    ("git push", "echo git push", False),
    ("git push --force", "git push origin --force", True),
    ("git push --force", "git push --force=yes", True),
    ("git push --force", "git push", False),
    ("rm -rf", "rm -fr /", True),
    ("rm -rf", "rm -r -f /", True),
    ("rm -rf", "rm -r /", False),
    ("/usr/bin/git", "git push", True),
    ("/**/mkfs.*", "mkfs.ext4 /dev/sda", True),
    (".venv/bin/*", "/work/.venv/bin/pip", True),
    ("*", "ls", True),
]


@pytest.mark.parametrize(("pattern", "command", "expected"), BROAD)
def test_deny_is_broad(pattern: str, command: str, expected: bool) -> None:
    assert CommandPattern.parse(pattern, SCOPE).denies(command.split()) is expected


def test_env_splits_its_string() -> None:
    pattern = CommandPattern.parse("git push", SCOPE)
    for argv in (["env", "-S", "git push"], ["env", "-Sgit push"], ["env", "--split-string=git push"]):
        assert pattern.denies(argv)


def test_what_starts_too_many_programs_is_denied() -> None:
    git = CommandPattern.parse("git", SCOPE)
    assert not git.denies(["env"] * 40)
    assert git.denies([*["env"] * 40, "git"])
    assert git.denies(["env"] * 20000)
    assert git.denies(["env", "-S"] * 20000)
    assert git.denies(["find", *["-exec", "ls"] * 20000])


@pytest.mark.parametrize("text", ["", "  ", ":*", "git :*", "git *", "git*", "git 'a b'", "* x", "a\0b", "/a/**b"])
def test_errors(text: str) -> None:
    with pytest.raises(DocumentError):
        CommandPattern.parse(text, SCOPE)


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(DocumentError):
        CommandPattern.parse((), SCOPE)
