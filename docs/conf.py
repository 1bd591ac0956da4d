"""How Sphinx builds the documents; ``make docs`` builds them with every warning as an error."""

from __future__ import annotations

from chaoskit import __version__

project = "chaoskit"
author = "The chaoskit developers"
copyright = "the chaoskit developers"
release = version = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

# Headings of three levels can be linked to: [text](page.md#heading).
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

# tests/test_docs.py checks all relative links and anchors; it knows the files outside of docs/ as well.
suppress_warnings = ["myst.xref_missing"]

html_theme = "furo"
html_title = "chaoskit"
