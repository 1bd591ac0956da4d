"""From a trace to verdicts: points, cases, crash states, and the outcome of each.

The engine knows neither pytest nor the kernel: it is given a way to run one case
(:mod:`chaoskit.explore.execute`) and returns a :class:`chaoskit.core.result.ScenarioResult`.
"""
