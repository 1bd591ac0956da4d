"""The cases of one scenario on several machines: jobs go there, observations come back.

Nothing is decided there. The test process has no thread for it, since it forks: execnet, which needs threads,
runs in a process beside it (:mod:`chaoskit.hosts.dispatch`) that passes messages on. On each host a pytest
that has collected the same tests runs what it is sent (:mod:`chaoskit.hosts.serving`).
"""
