"""Write .ci/constraints.txt: the versions that are installed in the environments whose Pythons are given.

Versions only, no addresses: where packages come from is the business of the machine that installs them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).with_name("constraints.txt")
HEAD = "# The versions that everything here was tested with. Written by: make lock\n"


NOT_PINNED = {"setuptools", "wheel"}
"""What an environment is born with on some Pythons, and nothing here uses."""


def main(pythons: list[str]) -> None:
    versions: dict[str, str] = {}
    # The oldest Python comes first and decides: what it can have, the later ones can have too.
    for python in pythons:
        for name, version in installed(python):
            versions.setdefault(name, version)
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items()) if name not in NOT_PINNED]
    FILE.write_text(HEAD + "".join(lines))
    print(f"pinned {len(lines)} packages")


def installed(python: str) -> list[tuple[str, str]]:
    command = [python, "-m", "pip", "list", "--format=json", "--exclude-editable"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [
        (re.sub(r"[-_.]+", "-", package["name"]).lower(), package["version"])
        for package in json.loads(done.stdout)
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
