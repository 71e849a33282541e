"""What enforcement costs while a job runs, and names that patterns matched: the bars of issue 3.

    .venv/bin/python tests/bench/bench_enforce.py [--rounds 11] [--prefix INSTALLED]

Prints, as root and as an ordinary user, from interleaved rounds: an exec under an argument rule, beside one that is not
traced and one outside; a launch with 1,000 matches of a name pattern beside one with none; reading 256 MiB that are
mounted and writing 128 MiB to a live tree, beside the same outside. Figures are the least of all rounds. Exit status 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from tests import sandboxed  # noqa: E402  found only now
from tests.agreement.generator import MEANT  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

EXEC_BAR, NAMES_BAR, SPEED_BAR = 2.0, 80.0, 0.8  # ms more, ms more, times the speed outside (1 is the same; noise)
STARTS, NAMES, READ_MIB, WRITE_MIB = 100, 1000, 256, 128
Case = tuple[str, "Callable[[], float]"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--prefix", help="an installation to measure instead of a new one")
    arguments = parser.parse_args()
    if arguments.prefix:
        os.environ["MLSANDBOX_TEST_PREFIX"] = arguments.prefix
    missed = 0
    for host in sandboxed.hosts(sandboxed.install()):
        try:
            missed += Bench(host, arguments.rounds).run()
        finally:
            host.remove()
    print(f"load {' '.join([f'{load:.2f}' for load in os.getloadavg()])} on {os.cpu_count()} processors")
    return 1 if missed else 0


class Bench:
    def __init__(self, host: sandboxed.Host, rounds: int) -> None:
        self.host = host
        self.rounds = rounds
        self.program = host.write("tool/enforce", b"", 0o755)
        source = f"{ROOT}/tests/bench/enforce.c"
        subprocess.run(["gcc", "-O2", "-static", "-o", self.program, source], check=True)
        host.write("data/large", os.urandom(1 << 20) * READ_MIB)
        for number in range(NAMES):
            host.write(f"names/{number}.csv", "")
        host.write("live/.keep", "")
        host.write("outside/.keep", "")

    def run(self) -> int:
        return self._exec() + self._names() + self._speed()

    def _measure(self, cases: list[Case]) -> list[float]:
        """The least of each case: what else the machine does only adds. Every round does each case once."""
        rows: list[list[float]] = [[] for _ in cases]
        for _ in range(self.rounds):
            for row, (_name, once) in zip(rows, cases, strict=True):
                row.append(once())
        return [min(row) for row in rows]

    def _inside(self, *words: str) -> float:
        ran = self.host.launch(self.program, *words, timeout=110)
        if ran.status:
            raise SystemExit(f"{words}: {ran}")
        return float(ran.out)

    def _outside(self, *words: str) -> float:
        drop = self.host.drop()
        return float(subprocess.run([self.program, *words], check=True, capture_output=True, **drop).stdout)

    def _exec(self) -> int:
        words = ("exec", str(STARTS), self.program, "end")

        def under(rule: list[str]) -> float:
            self.host.policy({"cmd": rule})
            return self._inside(*words)

        ruled = [f"{self.program} exec:*", f"{self.program} end"]
        cases: list[Case] = [
            ("outside", lambda: self._outside(*words)),
            ("every program", lambda: self._with_view(words)),
            ("argument rule", lambda: under(ruled)),
        ]
        outside, free, checked = self._measure(cases)
        more = (checked - min(outside, free)) / 1000
        print(
            f"{self.host.who:5} exec: outside {outside:.0f} us, not traced {free:.0f} us, under an argument rule "
            f"{checked:.0f} us: {more:.2f} ms more (at most {EXEC_BAR:g})"
        )
        return more > EXEC_BAR

    def _with_view(self, words: tuple[str, ...]) -> float:
        self.host.policy({"cmd": ["*"], "file": [{"patterns": ["tool/**"], "operations": ["read"]}]})
        return self._inside(*words)

    def _names(self) -> int:
        def launched(pattern: str) -> float:
            self.host.policy({"cmd": ["true"], "file": [{"patterns": [pattern], "operations": ["read"]}]})
            for _ in range(2):  # the policy is read and remembered
                self.host.launch("true")
            began = time.perf_counter()
            self.host.launch("true")
            return (time.perf_counter() - began) * 1e3

        none, many = self._measure(
            [("none", lambda: launched("names/*.none")), ("many", lambda: launched("names/*.csv"))]
        )
        print(
            f"{self.host.who:5} launch with {NAMES} names: {many:.0f} ms, with none {none:.0f} ms: {many - none:.0f} ms "
            f"more (at most {NAMES_BAR:g})"
        )
        return many - none > NAMES_BAR

    def _speed(self) -> int:
        workspace = self.host.workspace
        live = {"patterns": ["live/**"], "operations": ["read", "write"], "live": True, "allow_danger": MEANT}
        file = [{"patterns": ["data/**"], "operations": ["read"]}, live]
        self.host.policy({"cmd": [f"{self.program}:*"], "file": file})
        rows = (
            ("mounted read", ("read", f"{workspace}/data/large"), ("read", f"{workspace}/data/large")),
            ("live write", ("write", f"{workspace}/live/x", str(WRITE_MIB)), ("write", f"{workspace}/outside/x", str(WRITE_MIB))),
        )  # fmt: skip
        missed = 0
        for name, inner, outer in rows:
            cases: list[Case] = [("inside", partial(self._inside, *inner)), ("outside", partial(self._outside, *outer))]
            inside, outside = self._measure(cases)
            missed += outside / inside < SPEED_BAR
            print(
                f"{self.host.who:5} {name}: {inside / 1e3:.0f} ms, outside {outside / 1e3:.0f} ms: "
                f"{outside / inside:.2f} times the speed"
            )
        return missed


if __name__ == "__main__":
    sys.exit(main())
