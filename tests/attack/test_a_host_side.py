"""Attacks 3 to 10 and 21 from the other side: what the host, another job or the tenant changes around a running job."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.attack.report import CAPABILITIES, clean, merged
from tests.sandboxed import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT = "import os, sys; print('up', flush=True); sys.stdin.readline()\n"


@pytest.fixture
def box(attacked: Host) -> Iterator[Host]:
    """The shared host with fresh trees for one test."""
    for name in ("in", "out"):
        clean(attacked, name)
    attacked.write("in/plain.txt", "granted\n")
    attacked.write("in/sub/deep.txt", "granted too\n")
    attacked.write("out/old.txt", "before\n")
    attacked.write("out/sub/old.txt", "before\n")
    attacked.policy(CAPABILITIES)
    yield attacked
    for name in ("in", "out"):
        clean(attacked, name)


def while_running(box: Host, action: Callable[[], object], code: str) -> str:
    """Starts a job, acts on the host, and lets the job run `code`: what it printed after that."""
    job = box.popen("launch", "--", "python3", "-I", "-c", WAIT + code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert job.stdout is not None
    assert job.stdout.readline() == b"up\n"
    action()
    out, err = job.communicate(b"go\n", timeout=60)
    assert b"Traceback" not in err, err.decode()
    return out.decode("utf-8", "surrogateescape")


def denying(box: Host, *patterns: str) -> None:
    box.policy(
        CAPABILITIES,
        deny=[f"file.{word}:{pattern}" for pattern in patterns for word in ("read", "write", "append", "delete")],
    )


def test_a03_nothing_follows_a_link_at_commit(box: Host, outside: str) -> None:
    """The job turns the staged directory, and a file of it, into links to a place that its user could write to."""
    ran = box.python(
        f"import os, shutil\n"
        f"os.unlink('out/old.txt'); os.symlink({outside + '/file'!r}, 'out/old.txt')\n"
        f"shutil.rmtree('out/sub'); os.symlink({outside!r}, 'out/sub')\n"
        f"os.makedirs('out/new/below'); open('out/new/below/f', 'w').write('x')\n"
    )
    assert os.listdir(outside) == []
    assert box.read("out/new/below/f") == "x"
    assert not os.path.islink(f"{box.workspace}/out/sub"), ran
    assert not os.path.islink(f"{box.workspace}/out/old.txt"), ran


@pytest.mark.parametrize("level", ["out", "out/sub"])
def test_a05_swap_race_at_commit(box: Host, outside: str, level: str) -> None:
    """CVE-2018-15664, CVE-2021-30465: a directory is swapped for a link all the time while jobs are staged and committed."""
    target, spare = f"{box.workspace}/{level}", f"{box.workspace}/spare"
    stop = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            try:
                os.rename(target, spare)
                os.symlink(outside, target)
                time.sleep(0.0005)
                os.unlink(target)
                os.rename(spare, target)
            except OSError:
                continue
            swaps += 1
            time.sleep(0.0005)

    swapper = threading.Thread(target=swap)
    swapper.start()
    deadline = time.monotonic() + 3
    finished = 0
    try:
        while time.monotonic() < deadline:
            ran = box.python(f"open({level + '/planted'!r}, 'w').write('x')")
            assert "internal error" not in ran.err, ran
            finished += 1
    finally:
        stop.set()
        swapper.join()
    assert os.listdir(outside) == []
    assert swaps > 50 and finished > 2, (swaps, finished)


def test_a05_swap_after_staging(box: Host, outside: str) -> None:
    """The directory is replaced by a link once, for good, between the snapshot and the commit."""

    def swap() -> None:
        os.rename(f"{box.workspace}/out", f"{box.workspace}/moved")
        os.symlink(outside, f"{box.workspace}/out")

    try:
        job = box.popen("launch", "--", "python3", "-I", "-c", WAIT + "open('out/planted', 'w').write('x')", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        assert job.stdout is not None
        assert job.stdout.readline() == b"up\n"
        swap()
        _, err = job.communicate(b"go\n", timeout=60)
        assert os.listdir(outside) == []
        assert b"internal error" not in err, err
    finally:
        os.unlink(f"{box.workspace}/out")
        shutil.rmtree(f"{box.workspace}/moved")


def test_a06_a_link_where_something_will_be_mounted(box: Host) -> None:
    """The granted directory is a link out before the launch: refused, nothing is mounted over its target."""
    clean(box, "in")
    os.symlink("/etc", f"{box.workspace}/in")
    try:
        ran = box.python("import os; print(os.listdir('in'))")
        assert ran.status in {125, 126} and "link" in ran.err, ran
    finally:
        os.unlink(f"{box.workspace}/in")


def test_a06_a_link_where_something_will_be_staged(box: Host, outside: str) -> None:
    clean(box, "out")
    os.symlink(outside, f"{box.workspace}/out")
    try:
        box.python("import os\nos.makedirs('out', exist_ok=True); open('out/planted', 'w').write('x')")
        assert os.listdir(outside) == []
        assert os.readlink(f"{box.workspace}/out") == outside
    finally:
        os.unlink(f"{box.workspace}/out")


def test_a06_a_link_inside_a_granted_tree(box: Host) -> None:
    """A link in the tree shows what the job's own root has at that name, which is nothing of the host."""
    os.symlink("/etc/shadow", f"{box.workspace}/in/link")
    os.symlink("/", f"{box.workspace}/in/root")
    code = "import os\nfor p in ('in/link', 'in/root/etc/shadow', 'in/root/home/x'): print(os.path.exists(p))"
    assert box.python(code).out == "False\nFalse\nFalse\n"


def test_a06_a_link_out_of_the_staged_tree(box: Host, outside: str) -> None:
    """The tree that is written holds a link to a directory; what is written through it stays in the sandbox."""
    os.symlink(outside, f"{box.workspace}/out/away")
    ran = box.python(
        "try: open('out/away/planted', 'w').write('x')\nexcept OSError: pass\nopen('out/ok', 'w').write('x')"
    )
    assert os.listdir(outside) == []
    assert os.path.islink(f"{box.workspace}/out/away"), ran
    assert box.read("out/ok") == "x"


def test_a07_a_file_with_two_names(box: Host) -> None:
    """Policy is about names: the granted name can be read; that a denied file has a second one is warned about."""
    box.write("in/secret.key", "k")
    os.link(f"{box.workspace}/in/secret.key", f"{box.workspace}/in/innocent.txt")
    denying(box, "in/*.key")
    ran = box.python("import os; print(sorted(os.listdir('in')))")
    assert "secret.key" not in ran.out and "innocent.txt" in ran.out, ran


def test_a07_a_staged_file_with_a_second_name(box: Host, outside: str) -> None:
    """A write through the granted name must not change the other name's content outside the grant."""
    other = f"{box.workspace}/second-name"
    os.link(f"{box.workspace}/out/old.txt", other)
    box.python("open('out/old.txt', 'a').write('more')")
    with open(other, encoding="utf-8") as file:
        assert file.read() == "before\n"
    os.unlink(other)


def test_a08_moving_a_protected_directory_away_and_back(box: Host) -> None:
    box.write("out/.git/config", "safe")
    box.write("out/.git/hooks/sample", "safe")
    denying(box, "out/.git/**")
    box.python(
        "import os\n"
        "def go(f, *a):\n"
        "    try: f(*a)\n"
        "    except OSError: pass\n"
        "go(os.rename, 'out/.git', 'out/g2'); go(os.makedirs, 'out/g2/hooks')\n"
        "go(lambda: open('out/g2/hooks/pre-commit', 'w').write('evil'))\n"
        "go(os.rename, 'out/g2', 'out/.git'); go(os.makedirs, 'out/.git/hooks')\n"
        "go(lambda: open('out/.git/hooks/pre-commit', 'w').write('evil'))\n"
        "go(lambda: open('out/.git/config', 'w').write('evil'))\n"
    )
    assert box.read("out/.git/config") == "safe"
    assert sorted(os.listdir(f"{box.workspace}/out/.git/hooks")) == ["sample"]


def test_a09_a_protected_file_that_does_not_exist_yet(box: Host) -> None:
    """CVE-2026-25725: created where it is denied; and no stub of it is left on the host."""
    denying(box, "out/.git/hooks/**", "out/.claude/settings.json", "out/.bash_profile")
    ran = box.python(
        "import os\n"
        "for p in ('out/.git/hooks/pre-commit', 'out/.claude/settings.json', 'out/.bash_profile'):\n"
        "    os.makedirs(os.path.dirname(p), exist_ok=True); open(p, 'w').write('evil')\n"
    )
    for name in (".git/hooks/pre-commit", ".claude/settings.json", ".bash_profile"):
        assert not os.path.lexists(f"{box.workspace}/out/{name}"), ran


NAMES = ("sub/.env", ".env", "deep/er/.env", "a\nb/.env", "bad\udcff/.env", "x" * 250 + "/.env")


def test_a10_denied_names_wherever_and_whenever(box: Host) -> None:
    """`**/.env`: there before, made by the host later, renamed into place, odd names above it: one verdict."""
    for name in NAMES:
        box.write(f"in/{name}", "SECRET")
    denying(box, "**/.env")

    def later() -> None:
        box.write("in/late/.env", "SECRET")
        box.write("in/sub/late.env", "SECRET")
        os.rename(f"{box.workspace}/in/sub/late.env", f"{box.workspace}/in/sub/.env")
        os.rename(f"{box.workspace}/in/.env", f"{box.workspace}/in/other.env")
        os.rename(f"{box.workspace}/in/other.env", f"{box.workspace}/in/.env")

    code = (
        "found = [os.path.join(d, n) for d, _, names in os.walk('in') for n in names if n == '.env']\n"
        "print(found)\n"
        "for d in [d for d, _, _ in os.walk('in')]:\n"
        "    try: print(open(os.path.join(d, '.env')).read())\n"
        "    except OSError: pass\n"
    )
    assert while_running(box, later, code) == "[]\n"


def test_a10_denied_names_are_not_written(box: Host) -> None:
    denying(box, "**/.env")
    names = [name for name in NAMES if name != ".env"]
    ran = box.python(
        f"import os\nfor n in {names!r}:\n"
        "    p = 'out/' + n\n"
        "    os.makedirs(os.path.dirname(p), exist_ok=True); open(p, 'w').write('evil')\n"
        "open('out/tmp', 'w').write('evil'); os.rename('out/tmp', 'out/.env')\n"
        "open('out/.ENV', 'w').write('another name')\n"
    )
    left = [name for _, _, found in os.walk(f"{box.workspace}/out") for name in found if name == ".env"]
    assert left == [], ran
    assert box.read("out/.ENV") == "another name"


def test_a10_a_denied_file_replaced_by_the_host_while_it_runs(box: Host) -> None:
    """kernel-facts 1: a rename over it would lift a mask that is mounted on a name."""
    box.write("in/.env", "SECRET")
    denying(box, "in/.env")

    def replace() -> None:
        box.write("in/new", "NEWSECRET")
        os.rename(f"{box.workspace}/in/new", f"{box.workspace}/in/.env")

    assert while_running(box, replace, "print(os.path.exists('in/.env'))") == "False\n"


def test_a10_a_second_job_commits_over_it(box: Host) -> None:
    """Job B writes into the tree that job A reads; A keeps its view, and the denied name stays away."""
    box.write("out/.env", "SECRET")
    box.write("out/seen.txt", "old")
    denying(box, "out/.env")

    def other() -> None:
        ran = box.python("open('out/seen.txt', 'w').write('new')\nopen('out/fresh.txt', 'w').write('new')")
        assert ran.status == 0, ran

    told = while_running(box, other, "print(os.path.exists('out/.env'))")
    assert told == "False\n"
    assert (box.read("out/seen.txt"), box.read("out/.env")) == ("new", "SECRET")


def test_a19_modes_made_by_a_job(box: Host) -> None:
    """Files and directories of a job: no set-id, no ownership but the writer's, whatever the job's umask was."""
    box.python(
        "import os\nos.umask(0)\nos.mkdir('out/d', 0o3777)\nfd = os.open('out/f', os.O_CREAT | os.O_WRONLY, 0o777)\nos.fchmod(fd, 0o777)"
    )
    for name in ("d", "f"):
        path = f"{box.workspace}/out/{name}"
        if os.path.exists(path):
            found = os.stat(path)
            assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID), name
            assert found.st_uid == box.uid


def test_a20_attributes_do_not_reach_the_host(box: Host) -> None:
    """With the addition `xattr` the job may set them on its own copy."""
    box.python(
        "import os\nopen('out/x', 'w').write('x')\ntry: os.setxattr('out/x', 'user.evil', b'1')\nexcept OSError: pass"
    )
    assert os.listxattr(f"{box.workspace}/out/x") == []


def test_a21_a_lower_directory_removed_and_made_anew(box: Host) -> None:
    """Without a grant of deletion nothing of the lower layer goes away."""
    rows = merged(CAPABILITIES)
    rows["file"] = [rows["file"][0], {"patterns": ["out/**"], "operations": ["read", "write"]}]
    box.policy(rows)
    ran = box.python("import os, shutil\nshutil.rmtree('out/sub')\ntry: os.mkdir('out/sub')\nexcept OSError: pass")
    assert box.read("out/sub/old.txt") == "before\n", ran


def test_a21_a_fifo_a_socket_and_a_link_do_not_reach_the_host(box: Host) -> None:
    ran = box.python(
        "import os\nos.mkfifo('out/fifo'); os.symlink('/etc/passwd', 'out/link'); os.link('out/old.txt', 'out/hard')"
    )
    assert not os.path.lexists(f"{box.workspace}/out/fifo")
    assert not os.path.lexists(f"{box.workspace}/out/link"), ran
    hard = f"{box.workspace}/out/hard"
    assert not os.path.exists(hard) or os.stat(hard).st_nlink == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="launching for somebody else needs root")
def test_a05_root_launches_for_a_tenant_who_swaps(installation: str, outside: str) -> None:
    """The launcher is root, the workspace the tenant's: links of the tenant's never make root write where he may not."""
    root = Host(installation, "root")
    try:
        tenant = Host(installation, "user")
        workspace = f"{root.top}/tenant"
        os.mkdir(workspace)
        for name in ("in", "out", "probes"):
            os.mkdir(f"{workspace}/{name}")
            os.chown(f"{workspace}/{name}", tenant.uid, tenant.gid)
        os.chown(workspace, tenant.uid, tenant.gid)
        os.chmod(outside, 0o700)
        root.name = tenant.name
        root.policy(CAPABILITIES)
        stop = threading.Event()
        target = f"{workspace}/out"

        def swap() -> None:
            while not stop.is_set():
                try:
                    os.rename(target, f"{workspace}/spare")
                    os.symlink(outside, target)
                    time.sleep(0.0005)
                    os.unlink(target)
                    os.rename(f"{workspace}/spare", target)
                except OSError:
                    continue
                time.sleep(0.0005)

        swapper = threading.Thread(target=swap)
        swapper.start()
        committed = 0
        deadline = time.monotonic() + 3
        try:
            while time.monotonic() < deadline:
                ran = root.run("launch", "--user", tenant.name, "--workspace", workspace, "--", "python3", "-I", "-c", "open('out/planted', 'w').write('x')")  # fmt: skip
                assert b"internal error" not in ran.stderr, ran
                committed += b"\nmlsandbox: committed" in b"\n" + ran.stderr
        finally:
            stop.set()
            swapper.join()
            tenant.remove()
        assert os.listdir(outside) == []
    finally:
        root.remove()


def test_a22_locks_of_shared_files(box: Host) -> None:
    """Not covered, and here is how far it goes: a lock on a file that is mounted is seen on both sides, one bit for each
    file; a staged file is the job's own, so is its lock."""
    import fcntl

    code = (
        "import fcntl\n"
        "for name in ('in/plain.txt', 'out/old.txt'):\n"
        "    try: fcntl.flock(open(name), fcntl.LOCK_SH | fcntl.LOCK_NB); print(name, 'free')\n"
        "    except OSError as error: print(name, error.errno)\n"
    )
    with open(f"{box.workspace}/in/plain.txt") as mounted, open(f"{box.workspace}/out/old.txt") as staged:
        fcntl.flock(mounted, fcntl.LOCK_EX)
        fcntl.flock(staged, fcntl.LOCK_EX)
        ran = box.python(code)
    assert ran.out == "in/plain.txt 11\nout/old.txt free\n", ran
