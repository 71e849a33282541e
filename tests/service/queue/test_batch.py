"""The queue with the real service and real jobs: what users type, what they see, and kill -9 in between."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests import sandboxed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="the service needs root for tenants")]
OTHER = "mlsandbox-tes2"
CAPABILITIES = {
    "cmd": ["true", "false", "echo", "sleep", "cat"],
    "sh": True,
    "env": ["GREETING", "MLSANDBOX_*"],
    "file": [{"patterns": ["out/*"], "operations": ["read", "write"]}],
    "path": [{"patterns": ["out"], "operations": ["read", "write"]}],
}


class Site:
    """A service, its state, and two tenants."""

    def __init__(self, prefix: str) -> None:
        self.host = sandboxed.Host(prefix, "user")
        os.chown(self.host.root, 0, 0)
        os.chown(f"{self.host.root}/policies", 0, 0)
        self.service: subprocess.Popen[bytes] | None = None
        self.policy(self.host.name, OTHER)

    def policy(self, *users: str) -> None:
        document = {"policy": {"applies_to": {"users": users}, "capabilities": CAPABILITIES}}
        with open(f"{self.host.root}/policies/test.json", "w", encoding="utf-8") as file:
            json.dump(document, file)

    def configure(self, text: str) -> None:
        with open(f"{self.host.root}/config.yaml", "w", encoding="utf-8") as file:
            file.write(text)

    def start(self) -> None:
        log = open(f"{self.host.top}/service.log", "ab")  # noqa: SIM115
        self.service = subprocess.Popen(self.host.command("service", "run"), stderr=log, stdout=log, cwd="/")
        log.close()
        until = time.monotonic() + 20
        while self.run("jobs", check=False).returncode and time.monotonic() < until:
            time.sleep(0.05)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.service:
            self.service.send_signal(number)
            self.service.wait(20)
            self.service = None

    def log(self) -> str:
        with open(f"{self.host.top}/service.log", encoding="utf-8") as file:
            return file.read()

    def run(self, *words: str, user: str = "", check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command of the first tenant, of `user`, or of root."""
        drop = self.host.drop()
        if user:
            account = pwd.getpwnam(user)
            drop = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [],
                    "env": {**drop["env"], "HOME": account.pw_dir, "USER": user}}  # fmt: skip
        drop["env"] = {**drop["env"], **options.pop("env", {})}
        done = subprocess.run(
            self.host.command(*words), capture_output=True, text=True, cwd=self.host.workspace, timeout=90, check=False,
            **drop, **options,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.log()}"
        return done

    def submit(self, *words: str, **options: Any) -> str:
        return self.run("submit", *words, **options).stdout.split()[-1]

    def jobs(self, *words: str, user: str = "") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("jobs", "--json", *words, user=user).stdout.splitlines()]

    def job(self, name: str) -> dict[str, Any]:
        (found,) = self.jobs(name)
        return found

    def until(self, name: str, *states: str) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while (found := self.job(name))["state"] not in states:
            assert time.monotonic() < deadline, f"{found}\n{self.log()}"
            time.sleep(0.05)
        return found

    def events(self) -> list[dict[str, Any]]:
        shown = subprocess.run(self.host.command("audit", "show", "--json"), capture_output=True, text=True, check=True)
        return [json.loads(line) for line in shown.stdout.splitlines() if line.startswith("{")]

    def remove(self) -> None:
        self.kill(signal.SIGTERM)
        self.host.remove()


@pytest.fixture(scope="module")
def second() -> str:
    if subprocess.run(["id", OTHER], capture_output=True, check=False).returncode:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", OTHER], check=True, capture_output=True)
    return OTHER


@pytest.fixture
def site(installation: str, second: str) -> Iterator[Site]:
    made = Site(installation)
    made.start()
    yield made
    assert "internal error" not in made.log(), made.log()
    made.remove()


def test_submit_wait_logs_results(site: Site) -> None:
    """The whole way of one job, of an array, of a list and of a directory of programs."""
    one = site.submit("--name", "greeting", "--env", "GREETING=hello", "--", "sh", "-c", "echo $GREETING $MLSANDBOX_JOB; echo oops >&2")  # fmt: skip
    done = site.run("wait", one)
    assert "1 succeeded" in done.stderr
    logs = site.run("logs", one)
    assert (logs.stdout, logs.stderr) == (f"hello {one}\n", "oops\n")

    array = site.submit("--array", "3-9:3", "--", "sh", "-c", "echo {index} $MLSANDBOX_INDEX; exit {index}")
    done = site.run("wait", array, check=False)
    assert done.returncode == 3
    assert "3 did not" in done.stderr
    assert [(job["job"], job["exit_code"]) for job in site.jobs(array)] == [
        (f"{array}.{at}", 3 * at + 3) for at in range(3)
    ]
    assert site.run("logs", f"{array}.2").stdout == "9 9\n"
    assert site.run("wait", f"{array}.1", check=False).returncode == 6

    site.host.write("jobs.txt", 'echo "two words"\n# a comment\n{"command": ["sh", "-c", "echo $GREETING"], '
                    '"environment": {"GREETING": "own"}, "name": "json"}\n')  # fmt: skip
    listed = site.submit("--wait", "--file", "jobs.txt", "--env", "GREETING=shared")
    assert [site.run("logs", f"{listed}.{at}").stdout for at in range(2)] == ["two words\n", "own\n"]
    assert [job["name"] for job in site.jobs(listed)] == ["", "json"]

    for name in ("a", "b"):
        site.host.write(f"programs/{name}.ml", f'print("program {name}");\n')
    many = site.submit("--directory", "programs")
    site.run("wait", many, check=False)
    assert [job["reason"] for job in site.jobs(many)] == ["", ""]
    assert [site.run("logs", f"{many}.{at}").stdout for at in range(2)] == ["program a\n", "program b\n"]
    (result,) = [json.loads(line) for line in site.run("results", "--json", one).stdout.splitlines()]
    assert result["result"]["ended_by"] == "job"
    assert result["result"]["usage"]["wall_us"] > 0
    assert "greeting" in site.run("results", one).stdout
    table = site.run("jobs").stdout
    assert "greeting" in table
    assert "ended 9" in table


def test_follow_shows_output_as_it_comes_and_ends_with_the_job(site: Site) -> None:
    job = site.submit("--", "sh", "-c", "echo first; sleep 1; echo second")
    began = time.monotonic()
    with site.host.popen("logs", "-f", job, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"first\n"
        assert time.monotonic() - began < 25
        assert process.stdout.read() == b"second\n"
        assert process.wait(10) == 0
    assert site.job(job)["state"] == "ended"


def test_cancel_kills_what_runs(site: Site) -> None:
    running = site.submit("--", "sleep", "60")
    waiting = site.submit("--after", running, "--", "true")
    site.until(running, "running")
    assert site.run("cancel", running).stdout == "1 cancelled\n"
    assert site.run("wait", running, check=False).returncode == 143
    assert site.job(running)["reason"] == "cancelled while it ran"
    assert site.job(waiting)["state"] == "skipped"
    assert site.run("wait", waiting, check=False).returncode == 125


def test_another_tenants_jobs_are_not_there_and_operators_see_all(site: Site, second: str) -> None:
    """bob can neither see, read, cancel nor wait for alice's job, nor let his depend on it."""
    job = site.submit("--env", "GREETING=secret-of-alice", "--", "sh", "-c", "echo $GREETING; sleep 30")
    site.until(job, "running")
    for words in (["logs", job], ["cancel", job], ["wait", job], ["results", job], ["jobs", job],
                  ["submit", "--after", job, "--", "true"]):  # fmt: skip
        refused = site.run(*words, user=second, check=False)
        assert refused.returncode == 2, f"{words}: {refused}"
        assert f"there is no job {job}" in refused.stderr
    assert site.jobs(user=second) == []
    denied = site.run("jobs", "--all", user=second, check=False)
    assert denied.returncode == 126
    assert [found["tenant"] for found in site.jobs("--all", user="root")] == [site.host.name]
    assert "secret-of-alice" not in json.dumps(site.jobs("--all", user="root")), "variables are shown to nobody"
    assert site.run("logs", job, user="root").stdout == "secret-of-alice\n"
    for directory, _, files in os.walk(f"{site.host.root}/state"):
        for name in files:
            if "queue" in name or "spool" in directory:
                assert os.stat(f"{directory}/{name}").st_mode & 0o077 == 0, f"{directory}/{name}"
    site.run("cancel", "--all")


def test_a_policy_that_is_revoked_while_a_job_waits_refuses_it(site: Site) -> None:
    first = site.submit("--", "sleep", "60")
    site.until(first, "running")
    then = site.submit("--after-any", first, "--", "true")
    site.policy("somebody-else")
    site.run("cancel", first)
    found = site.until(then, "refused")
    assert "no policy applies" in found["reason"]
    assert site.run("wait", then, check=False).returncode == 126
    launches = [event for event in site.events() if event["outcome"] == "DENIED" and event["event"] == "launch"]
    # `sleep` may have been cancelled while it was built
    refused = [event["resource"] for event in launches if "no policy applies" in event["detail"]["reason"]]
    assert refused == ["true"]
    again = site.run("submit", "--", "true", check=False)
    assert again.returncode == 126
    assert "no policy applies" in again.stderr


def test_kill_9_of_the_service_loses_nothing_and_runs_nothing_twice(site: Site) -> None:
    """Each job appends its number to a file of its own: a job that ran twice would have two lines."""
    site.host.write("out/.keep", "")
    append = "echo x >> out/{index}.txt; sleep 0.2"
    array = site.submit("--array", "0-15", "--", "sh", "-c", append)
    retried = site.submit("--retries", "5", "--", "sh", "-c", "sleep 1")
    for _ in range(3):
        time.sleep(0.4)
        site.kill()
        site.start()
    site.run("wait", array, retried, check=False)
    jobs = site.jobs(array)
    assert len(jobs) == 16
    assert {job["state"] for job in jobs} <= {"ended", "interrupted"}
    for job in jobs:
        path = os.path.join(site.host.workspace, f"out/{job['number']}.txt")
        lines = site.host.read(f"out/{job['number']}.txt").splitlines() if os.path.exists(path) else []
        assert len(lines) <= 1
        assert (job["state"] == "ended") <= (len(lines) == 1), job
        assert job["attempts"] == 1
    assert site.job(retried)["state"] == "ended"
    interrupted = sum(job["state"] == "interrupted" for job in jobs)
    assert sum(event["event"] == "job.interrupted" for event in site.events()) == interrupted
    verified = subprocess.run(site.host.command("audit", "verify"), capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout


def test_output_is_bounded_and_old_output_goes_first(site: Site) -> None:
    """A job that writes for ever fills no disk: of each job so much is kept, and of each tenant so much."""
    site.kill(signal.SIGTERM)
    site.configure("queue: {job: {max_output: 64KiB}, tenant: {max_spool: 100KiB}}\n")
    site.start()
    flood = "while :; do echo 0123456789012345678901234567890123456789; done"
    jobs = [site.submit("--timeout", "1s", "--", "sh", "-c", flood) for _ in range(2)]
    for job in jobs:
        assert site.run("wait", job, check=False).returncode == 124
    deadline = time.monotonic() + 20  # what is too much goes in a turn of its own
    while (sizes := [len(site.run("logs", job).stdout) for job in jobs])[0]:
        assert time.monotonic() < deadline, "that of the older one went"
    assert 65536 <= sizes[1] < 66_000  # and a line that says so
    assert sum(job["output_bytes"] for job in site.jobs()) == sizes[1]


def test_limits_of_a_tenant_hold_across_its_jobs(site: Site) -> None:
    """Two gibibytes in all and one for each job: two run at once, each held to its gibibyte by its control group."""
    site.kill(signal.SIGTERM)
    site.configure("queue: {max_jobs: 8, tenant: {max_memory: 2GiB}}\n")
    site.start()
    array = site.submit("--array", "0-3", "--", "sleep", "1.5")
    time.sleep(1.0)
    assert sorted(job["state"] for job in site.jobs(array)) == ["queued", "queued", "running", "running"]
    small = site.submit("--memory", "512MiB", "--array", "0-3", "--", "sleep", "0.1")
    refused = site.run("submit", "--memory", "3GiB", "--", "true", check=False)
    assert refused.returncode == 126
    assert "could never start" in refused.stderr
    site.run("wait", array, small)


def test_launches_beside_the_queue_count_with_the_tenants_jobs(site: Site) -> None:
    """One job in all: a launch is refused while a queued job runs, and a queued job waits while a launch does."""
    site.kill(signal.SIGTERM)
    site.configure("queue: {tenant: {max_jobs: 1, max_memory: 256MiB}, job: {max_memory: 256MiB}}\n")
    site.start()
    job = site.submit("--", "sleep", "60")
    site.until(job, "running")
    refused = site.run("launch", "--", "true", check=False)
    assert refused.returncode == 126
    assert "may hold 1 jobs at once and holds 1" in refused.stderr
    assert "mlsandbox submit" in refused.stderr
    site.run("cancel", job)
    site.run("wait", job, check=False)
    grow = "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"
    assert site.run("launch", "--", "sh", "-c", grow, check=False).returncode == 137, "held to what it is counted with"
    with site.host.popen("launch", "--", "sleep", "2", stderr=subprocess.PIPE) as launch:
        time.sleep(1)
        waits = site.submit("--", "true")
        assert site.job(waits)["state"] == "queued"
        assert launch.wait(30) == 0
    assert "1 succeeded" in site.run("wait", waits).stderr


def test_caches_last_from_job_to_job_and_are_each_tenants_own(site: Site, second: str) -> None:
    """The policy of docs/how-to/batch.md: `~` is each user's own, what is shared is for reading. A job of bob's can
    neither read what alice's left in her cache, nor put a package where hers would take it from."""
    shared = f"{site.host.top}/wheels"
    os.mkdir(shared)
    with open(f"{shared}/tool.whl", "w", encoding="utf-8") as file:
        file.write("shared\n")
    homes = {}
    for name in (site.host.name, second):
        account = pwd.getpwnam(name)
        homes[name] = account.pw_dir
        cache = f"{account.pw_dir}/.cache/mlsandbox-pip"
        subprocess.run(["install", "-d", "-o", name, "-g", name, f"{account.pw_dir}/.cache", cache], check=True)
    danger = ["git-hooks", "git-config", "agents", "ci", "editors"]  # a live tree must mean what nobody judges there
    live = {"patterns": ["~/.cache/mlsandbox-pip/**"], "live": True, "allow_danger": danger}
    capabilities = {
        "sh": True,
        "cmd": ["cat"],
        "file": [{**live, "operations": ["read", "write", "append", "delete"]},
                 {"patterns": [f"{shared}/**"], "operations": ["read"]}],
        "path": [{**live, "operations": ["read", "write"]}],
    }  # fmt: skip
    with open(f"{site.host.root}/policies/test.json", "w", encoding="utf-8") as file:
        json.dump({"policy": {"applies_to": {"users": list(homes)}, "capabilities": capabilities}}, file)
    fill = "echo of-$USER > ~/.cache/mlsandbox-pip/wheel"
    first, other = site.submit("--", "sh", "-c", fill), site.submit("--", "sh", "-c", fill, user=second)
    read = f"cat ~/.cache/mlsandbox-pip/wheel {shared}/tool.whl; echo x > {shared}/evil.whl"
    peek = f"cat {homes[site.host.name]}/.cache/mlsandbox-pip/wheel"
    mine = site.submit("--after", first, "--", "sh", "-c", read)
    theirs = site.submit("--after", other, "--", "sh", "-c", peek, user=second)
    site.run("wait", mine, check=False)
    site.run("wait", theirs, check=False, user=second)
    assert site.run("logs", mine).stdout == f"of-{site.host.name}\nshared\n"
    assert site.run("logs", theirs, user=second).stdout == ""
    assert os.listdir(shared) == ["tool.whl"]
    for home in homes.values():
        shutil.rmtree(f"{home}/.cache/mlsandbox-pip")


def test_without_a_service_the_verbs_say_what_is_missing(installation: str) -> None:
    host = sandboxed.Host(installation, "user")
    for verb in (["submit", "--", "true"], ["jobs"], ["wait", "1"]):
        refused = host.run(*verb)
        assert refused.returncode == 125
        assert b"no service is running" in refused.stderr
        assert b"mlsandbox service run" in refused.stderr
    host.remove()
