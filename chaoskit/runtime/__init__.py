"""The resilience runtime. Uses ``chaoskit.core`` only; never loads the harness, pytest or Hypothesis."""
