"""Probes: what the running kernel has, found out by trying it, never by its release.

A row of ``table.features(GROUP)`` is a ``Feature``: its name, since when, and how it is asked for. Its ``probe``
makes the real call, closes what that opened, attaches nothing that runs, and returns an ``Answer``: yes, no (proven),
or unknown with the reason. ``bpfasm.kernel.features`` asks them with the memory they take.
"""
