"""From a trace to verdicts: points, cases, crash states, and what came of each.

The engine knows neither pytest nor the kernel: it is handed a way to run one case
(:mod:`chaoskit.explore.execute`) and gives back a :class:`chaoskit.core.result.ScenarioResult`.
"""
