"""Runs the cases of a scenario on several machines: jobs go there, observations come back.

All decisions are made here. The test process forks, so it must have no threads. Execnet needs threads and
runs in a separate process (:mod:`chaoskit.hosts.dispatch`) that passes messages on. On each host a pytest
that has collected the same tests runs the jobs (:mod:`chaoskit.hosts.serving`).
"""
