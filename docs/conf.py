"""How Sphinx builds the documents; ``make docs`` builds them with every warning as an error."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from chaoskit import __version__

project = "chaoskit"
author = "The chaoskit developers"
copyright = "the chaoskit developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "public"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

# Headings of three levels can be linked to: [text](page.md#heading).
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

# One parameter a line where the signature would not fit the page.
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
autodoc_member_order = "bysource"
# Defaults as the source writes them: the repr of a clock or a sentinel says nothing to a reader.
autodoc_preserve_defaults = True

# The default of the theme underlines the names of modules.
pygments_dark_style = "monokai"
html_theme = "furo"
html_title = f"chaoskit {__version__}"
html_static_path = ["_static"]
html_css_files = ["page.css"]
html_copy_source = False
