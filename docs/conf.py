"""The Sphinx build of the documentation: ``sphinx-build -W docs OUT``."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent / "_ext")]

import bpfasm  # noqa: E402

project = "bpfasm"
author = "the bpfasm authors"
copyright = "2026, the bpfasm authors"
release = bpfasm.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "support_matrix", "support_table", "tables"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"bpfasm {release}"
html_static_path = ["_static"]
html_css_files = ["bpfasm.css"]
add_module_names = False
autodoc_member_order = "bysource"
# Annotations name types that exist only for the type checker; the docstrings say what an argument is.
autodoc_typehints = "none"
nitpicky = False
