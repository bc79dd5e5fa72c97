"""Location of the app's files and the weights: in a checkout, or inside an installed package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def app_folder() -> Path:
    """The folder with `app.py`, `pages/`, `.streamlit/` and `pretrained/`.

    A wheel holds them in `tomopatch/_app`; in a checkout they are two levels above the package.
    """
    installed = _PACKAGE / "_app"
    return installed if installed.is_dir() else _PACKAGE.parents[1]
