"""The runner without the runtime: the same containers, and nothing that would survive trouble.

It is what ``benchmarks/systems.py`` compares the runner with; ``peers/`` has one that tries to survive.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def main(state: Path, command: Sequence[str], runs: Sequence[tuple[str, str, str]]) -> None:
    """Carry out each run once, one after the other.

    Raises:
        CalledProcessError: a container failed.
    """
    for pipeline, subject, session in runs:
        target = state / "derivatives" / pipeline / f"{subject}_{session}"
        stage = target.with_name(f"{target.name}.tmp")
        stage.mkdir(parents=True)
        given = {"subject": subject, "session": session, "output": str(stage.relative_to(state))}
        with open(state / f"{pipeline}.{subject}.{session}.log", "wb") as said:
            words = [word.format(**given) for word in command]
            subprocess.run(words, cwd=state, stdout=subprocess.DEVNULL, stderr=said, check=True)
        stage.rename(target)
