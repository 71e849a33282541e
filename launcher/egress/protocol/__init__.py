"""Parsers of what a job sends: bytes in, events out. No sockets, no clock, strict, with named limits.

Every parser refuses what two implementations could read in two ways (CVE-2021-39214, CVE-2022-24825 and the other
cases in docs/explanation/egress.md): a proxy that guesses is a proxy that can be walked around.
"""
