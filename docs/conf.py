"""Configuration of the documentation: `sphinx-build -W -b html docs build/docs`."""

from tomopatch import __version__

project = "TomoPatch"
author = "The TomoPatch developers"
copyright = "The TomoPatch developers, GPL-3.0-or-later"
release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
exclude_patterns = ["build", "experiment.schema.json", "protocols-first-version.csv"]
source_suffix = {".md": "myst-nb"}

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"  # a notebook runs again when its cells change
nb_execution_timeout = 300  # seconds a cell
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_typehints = "none"  # the docstrings state types with shapes and units
autodoc_member_order = "bysource"
autosummary_generate = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "TomoPatch"
html_static_path = ["_static"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
linkcheck_anchors = False
linkcheck_timeout = 20  # seconds
linkcheck_retries = 2

# diagrams in mermaid, which the web page of the repository draws
suppress_warnings = ["misc.highlighting_failure"]
