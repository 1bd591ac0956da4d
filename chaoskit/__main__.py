"""``python -m chaoskit`` is the command ``chaoskit``: for where scripts are not on the path."""

from __future__ import annotations

from chaoskit.cli import main

if __name__ == "__main__":
    main()
