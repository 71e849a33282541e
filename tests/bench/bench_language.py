"""How fast ML programs run against their straightforward Python translation, and how long they take to start.

    .venv/bin/python tests/bench/bench_language.py [ROUNDS]

For each program both versions run interleaved, each in a process of its own; the shortest CPU times, their ratio and the
median of the ratios of neighbouring runs are printed (below 1 is faster than Python). The Python versions say what a person would write for the same data: dictionaries for objects.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from launcher.language.compiled import Program
from launcher.language.program import compile_program
from launcher.runtime import collecting
from launcher.runtime.machine import Machine

PAIRS: dict[str, tuple[str, str]] = {
    "loops": (
        """
        total = 0; i = 0;
        while (i < 200000) { if (i % 3 == 0) { total = total + i; } else { total = total - 1; } i = i + 1; }
        for (k in range(200000)) { total = total + k * 2; }
        result = total;
        """,
        """
        total = 0; i = 0
        while i < 200000:
            if i % 3 == 0: total = total + i
            else: total = total - 1
            i = i + 1
        for k in range(200000): total = total + k * 2
        result = total
        """,
    ),
    "recursion": (
        """
        function fib(n) { if (n < 2) { return n; } return fib(n - 1) + fib(n - 2); }
        result = fib(22);
        """,
        """
        def fib(n):
            if n < 2: return n
            return fib(n - 1) + fib(n - 2)
        result = fib(22)
        """,
    ),
    "closures": (
        """
        import functional;
        function counter() { n = 0; function step() { nonlocal n; n = n + 1; return n; } return step; }
        c = counter();
        for (i in range(100000)) { c(); }
        add = fn(x) => fn(y) => x + y;
        total = 0;
        for (i in range(50000)) { total = total + add(i)(1); }
        result = [c(), total, sum(functional.map(fn(x) => x * x, range(50000)))];
        """,
        """
        def counter():
            n = 0
            def step():
                nonlocal n
                n = n + 1
                return n
            return step
        c = counter()
        for i in range(100000): c()
        add = lambda x: lambda y: x + y
        total = 0
        for i in range(50000): total = total + add(i)(1)
        result = [c(), total, sum([(lambda x: x * x)(x) for x in range(50000)])]
        """,
    ),
    "strings": (
        """
        words = [];
        for (i in range(30000)) { words.append("w" + i % 97); }
        text = " ".join(words);
        counts = {};
        for (w in text.split(" ")) {
          key = w.upper().strip();
          if (counts[key[0:1]] == null) { } else { counts[key[0:1]] = counts[key[0:1]] + len(key); }
        }
        result = counts;
        """,
        """
        words = []
        for i in range(30000): words.append("w" + str(i % 97))
        text = " ".join(words)
        counts = {}
        for w in text.split(" "):
            key = w.upper().strip()
            if counts[key[0:1]] == None: pass
            else: counts[key[0:1]] = counts[key[0:1]] + len(key)
        result = counts
        """,
    ),
    "objects": (
        """
        function make(i) { return {x: i, y: i * 2, next: null, area: fn(s) => s.x * s.y}; }
        head = null;
        for (i in range(20000)) { p = make(i); p.next = head; head = p; }
        total = 0; node = head;
        while (node != null) {
          if (node.x > 10) { total = total + node.x + node.y; } elif (node.y == 4) { total = total + 1; }
          total = total + node.area(node);
          node.x = node.x + 1;
          node = node.next;
        }
        result = total;
        """,
        """
        def make(i): return {"x": i, "y": i * 2, "next": None, "area": lambda s: s["x"] * s["y"]}
        head = None
        for i in range(20000):
            p = make(i); p["next"] = head; head = p
        total = 0; node = head
        while node != None:
            if node["x"] > 10: total = total + node["x"] + node["y"]
            elif node["y"] == 4: total = total + 1
            total = total + node["area"](node)
            node["x"] = node["x"] + 1
            node = node["next"]
        result = total
        """,
    ),
    "sorting": (
        """
        function quick(a) {
          if (len(a) < 2) { return a; }
          p = a[0]; low = []; high = [];
          for (x in a[1:]) { if (x < p) { low.append(x); } else { high.append(x); } }
          return quick(low) + [p] + quick(high);
        }
        a = []; s = 42;
        for (i in range(5000)) { s = (s * 1103515245 + 12345) % 2147483648; a.append(s); }
        b = quick(a);
        c = a.copy();
        for (i in range(300)) { for (j in range(300 - 1)) { if (c[j] > c[j + 1]) { t = c[j]; c[j] = c[j + 1]; c[j + 1] = t; } } }
        result = [b[0], b[4999], c[0], sorted(a) == b];
        """,
        """
        def quick(a):
            if len(a) < 2: return a
            p = a[0]; low = []; high = []
            for x in a[1:]:
                if x < p: low.append(x)
                else: high.append(x)
            return quick(low) + [p] + quick(high)
        a = []; s = 42
        for i in range(5000):
            s = (s * 1103515245 + 12345) % 2147483648; a.append(s)
        b = quick(a)
        c = a.copy()
        for i in range(300):
            for j in range(300 - 1):
                if c[j] > c[j + 1]:
                    t = c[j]; c[j] = c[j + 1]; c[j + 1] = t
        result = [b[0], b[4999], c[0], sorted(a) == b]
        """,
    ),
    "matrices": (
        """
        function multiply(a, b, n) {
          c = [];
          for (i in range(n)) {
            row = [];
            for (j in range(n)) {
              s = 0.0;
              for (k in range(n)) { s = s + a[i][k] * b[k][j]; }
              row.append(s);
            }
            c.append(row);
          }
          return c;
        }
        n = 50; a = []; b = [];
        for (i in range(n)) { r = []; q = []; for (j in range(n)) { r.append(i + j * 0.5); q.append(i - j * 0.25); } a.append(r); b.append(q); }
        result = multiply(a, b, n)[7][9];
        """,
        """
        def multiply(a, b, n):
            c = []
            for i in range(n):
                row = []
                for j in range(n):
                    s = 0.0
                    for k in range(n): s = s + a[i][k] * b[k][j]
                    row.append(s)
                c.append(row)
            return c
        n = 50; a = []; b = []
        for i in range(n):
            r = []; q = []
            for j in range(n):
                r.append(i + j * 0.5); q.append(i - j * 0.25)
            a.append(r); b.append(q)
        result = multiply(a, b, n)[7][9]
        """,
    ),
    "exceptions": (
        """
        function risky(i) { if (i % 2 == 0) { throw {message: "even", code: i}; } return i; }
        caught = 0; total = 0;
        for (i in range(40000)) { try { total = total + risky(i); } except (e) { caught = caught + 1; } finally { total = total + 1; } }
        for (i in range(20000)) { try { x = 1 / (i % 2); } except { caught = caught + 1; } }
        result = [caught, total];
        """,
        """
        class MLUserException(Exception):
            def __init__(self, data):
                super().__init__(data.get("message", "User-defined exception"))
                self.data = data
        def risky(i):
            if i % 2 == 0: raise MLUserException({"message": "even", "code": i})
            return i
        caught = 0; total = 0
        for i in range(40000):
            try: total = total + risky(i)
            except Exception as e: caught = caught + 1
            finally: total = total + 1
        for i in range(20000):
            try: x = 1 / (i % 2)
            except Exception: caught = caught + 1
        result = [caught, total]
        """,
    ),
    "n-body": (
        """
        import math;
        function body(x, y, z, vx, vy, vz, m) { return {x: x, y: y, z: z, vx: vx, vy: vy, vz: vz, m: m}; }
        bodies = [body(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 39.47), body(4.84, -1.16, -0.10, 0.6, 2.8, -0.02, 0.037),
          body(8.34, 4.12, -0.4, -1.01, 1.82, 0.008, 0.011), body(12.89, -15.11, -0.22, 1.08, 0.86, -0.01, 0.0017),
          body(15.37, -25.9, 0.179, 0.97, 0.59, -0.03, 0.002)];
        function advance(bodies, dt) {
          n = len(bodies);
          for (i in range(n)) {
            b = bodies[i];
            for (j in range(i + 1, n)) {
              c = bodies[j];
              dx = b.x - c.x; dy = b.y - c.y; dz = b.z - c.z;
              d = math.sqrt(dx * dx + dy * dy + dz * dz);
              mag = dt / (d * d * d);
              b.vx = b.vx - dx * c.m * mag; b.vy = b.vy - dy * c.m * mag; b.vz = b.vz - dz * c.m * mag;
              c.vx = c.vx + dx * b.m * mag; c.vy = c.vy + dy * b.m * mag; c.vz = c.vz + dz * b.m * mag;
            }
          }
          for (b in bodies) { b.x = b.x + dt * b.vx; b.y = b.y + dt * b.vy; b.z = b.z + dt * b.vz; }
        }
        for (step in range(1500)) { advance(bodies, 0.01); }
        result = bodies[0].x;
        """,
        """
        import math
        def body(x, y, z, vx, vy, vz, m): return {"x": x, "y": y, "z": z, "vx": vx, "vy": vy, "vz": vz, "m": m}
        bodies = [body(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 39.47), body(4.84, -1.16, -0.10, 0.6, 2.8, -0.02, 0.037),
          body(8.34, 4.12, -0.4, -1.01, 1.82, 0.008, 0.011), body(12.89, -15.11, -0.22, 1.08, 0.86, -0.01, 0.0017),
          body(15.37, -25.9, 0.179, 0.97, 0.59, -0.03, 0.002)]
        def advance(bodies, dt):
            n = len(bodies)
            for i in range(n):
                b = bodies[i]
                for j in range(i + 1, n):
                    c = bodies[j]
                    dx = b["x"] - c["x"]; dy = b["y"] - c["y"]; dz = b["z"] - c["z"]
                    d = math.sqrt(dx * dx + dy * dy + dz * dz)
                    mag = dt / (d * d * d)
                    b["vx"] = b["vx"] - dx * c["m"] * mag; b["vy"] = b["vy"] - dy * c["m"] * mag; b["vz"] = b["vz"] - dz * c["m"] * mag
                    c["vx"] = c["vx"] + dx * b["m"] * mag; c["vy"] = c["vy"] + dy * b["m"] * mag; c["vz"] = c["vz"] + dz * b["m"] * mag
            for b in bodies:
                b["x"] = b["x"] + dt * b["vx"]; b["y"] = b["y"] + dt * b["vy"]; b["z"] = b["z"] + dt * b["vz"]
        for step in range(1500): advance(bodies, 0.01)
        result = bodies[0]["x"]
        """,
    ),
}
# The first look-up of a missing key raises; here the key is there, as in a program that counts.
PAIRS["strings"] = tuple(text.replace("counts = {}", 'counts = {"W": 0}') for text in PAIRS["strings"])  # type: ignore[assignment]


def ml(source: str) -> Callable[[], Any]:
    program = compile_program(source.encode(), "bench.ml")
    return lambda: Machine(program).run()


def python(source: str) -> Callable[[], Any]:
    lines = source.splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    body = "\n".join(" " + line[indent:] for line in lines)
    namespace: dict[str, Any] = {}
    exec(compile(f"def main():\n{body}\n return result", "bench.py", "exec"), namespace)
    main: Callable[[], Any] = namespace["main"]
    return main


def timed(work: Callable[[], Any]) -> float:
    """Seconds of CPU time: what others do on the machine counts little."""
    start = time.process_time()
    work()
    return time.process_time() - start


def child(side: str, name: str) -> subprocess.Popen[str]:
    """A process that runs one version for each line it is sent, and answers with the seconds."""
    words = [sys.executable, __file__, "--serve", side, name]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def serve(side: str, name: str) -> None:
    """Each side as its users run it: ML with the runtime's own settings, Python with Python's."""
    work = ml(PAIRS[name][0]) if side == "ml" else python(PAIRS[name][1])
    if side == "ml":
        collecting.settle()
    print(work(), flush=True)
    for _line in sys.stdin:
        print(timed(work), flush=True)


def ratio(name: str, rounds: int) -> tuple[float, float, float]:
    """The shortest times of both versions in seconds, and the median of the ratios of neighbouring runs."""
    sides = [child(side, name) for side in ("ml", "python")]

    def ask(side: subprocess.Popen[str]) -> str:
        assert side.stdin
        assert side.stdout
        side.stdin.write("\n")
        side.stdin.flush()
        return side.stdout.readline()

    results = [side.stdout.readline() for side in sides if side.stdout]
    assert results[0] == results[1], name
    pairs = [(float(ask(sides[0])), float(ask(sides[1]))) for _ in range(rounds)]
    for side in sides:
        side.communicate()
    ours, theirs = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    return ours, theirs, statistics.median(pair[0] / pair[1] for pair in pairs)


def long_program(lines: int = 500) -> bytes:
    """A program of that many lines out of the benchmark programs."""
    text = "\n".join(pair[0].replace(";", ";\n") for pair in PAIRS.values())
    found: list[str] = []
    while len(found) < lines:
        found += [line for line in text.splitlines() if line.strip()]
    depth, kept = 0, []
    for line in found:
        kept.append(line)
        depth += line.count("{") - line.count("}") + line.count("(") - line.count(")")
        if len(kept) >= lines and depth == 0:
            break
    return "\n".join(kept).encode()


def startup(rounds: int) -> tuple[float, float, int]:
    """Milliseconds to compile a 500-line program and to load it from a cache, and its lines."""
    source = long_program()
    program = compile_program(source, "long.ml")
    data = program.to_bytes()
    collecting.postpone()
    compiled = min(timed(lambda: compile_program(source, "long.ml")) for _ in range(rounds))
    loaded = min(timed(lambda: Program.from_bytes(data)) for _ in range(rounds))
    return compiled * 1000, loaded * 1000, source.count(b"\n") + 1


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 31
    print(f"{'program':12} {'ML ms':>9} {'Python ms':>9} {'ratio':>6} {'median':>6}")
    for name in PAIRS:
        ours, theirs, quotient = ratio(name, rounds)
        print(f"{name:12} {ours * 1000:9.2f} {theirs * 1000:9.2f} {ours / theirs:6.2f} {quotient:6.2f}")
    compiled, loaded, lines = startup(min(rounds, 15))
    print(f"compile {lines} lines: {compiled:.1f} ms; from cache: {loaded:.2f} ms")


if __name__ == "__main__":
    main()
