"""Files and titles of the pages."""

HOME, ACQUIRE = "pages/home.py", "pages/acquire.py"
RECONSTRUCT, COMPARE = "pages/reconstruct.py", "pages/compare.py"
WHAT_IF, PRIOR, LEARN = "pages/what_if.py", "pages/prior.py", "pages/learn.py"
RUNS = "pages/runs.py"

TITLES = {
    HOME: "Home",
    ACQUIRE: "Acquire",
    RECONSTRUCT: "Reconstruct",
    COMPARE: "Compare",
    WHAT_IF: "What if",
    PRIOR: "Prior",
    LEARN: "Learn",
    RUNS: "Runs",
}
"""Titles by file, in the order of the menu."""
