"""The wheel holds the engine, the app and the weights, and works in an empty folder."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.system
PATIENCE = 300  # seconds: the machine may be busy


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the installed wheel, and the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run(build, check=True, timeout=PATIENCE)
    (wheel,) = folder.glob("*.whl")
    install = [*pip, "install", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel)]
    subprocess.run(install, check=True, timeout=PATIENCE)
    return folder / "site", wheel


def run(site: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TOMOPATCH_")}
    environment |= {"PYTHONPATH": str(site), "TOMOPATCH_STORE": str(folder / "store")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_the_wheel_holds_everything(installed):
    names = zipfile.ZipFile(installed[1]).namelist()
    for part in (
        "tomopatch/py.typed",
        "tomopatch/_app/app.py",
        "tomopatch/_app/pages/acquire.py",
        "tomopatch/_app/pages/ui/viewer/viewer.js",
        "tomopatch/_app/pages/ui/viewer/viewer_shader.js",
        "tomopatch/_app/.streamlit/config.toml",
        "tomopatch/_app/pretrained/base.safetensors",
        "tomopatch/export/report.css",
    ):
        assert part in names, part
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"tomopatch"}


def test_an_editable_install_copies_neither_weights_nor_pages(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["editable"])
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith(".pth") for name in names)
    assert not [name for name in names if "pretrained" in name or "pages" in name]


def test_the_library_finds_its_weights(installed, tmp_path):
    code = (
        "import tomopatch; print(tomopatch.__file__); print(tomopatch.__version__); "
        "print(tomopatch.load_prior().info['digest'])"
    )
    done = run(installed[0], tmp_path / "empty", "-c", code)
    assert done.returncode == 0, done.stderr
    file, version, _ = done.stdout.splitlines()
    assert Path(file).is_relative_to(installed[0])
    assert version in installed[1].name


def test_the_command_compares_all_methods(installed, tmp_path):
    folder = tmp_path / "empty"
    arguments = ["compare", "phantom:thorax", "--grid", "8x32x32", "--views", "12", "--out", "o"]
    done = run(installed[0], folder, "-m", "tomopatch", *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "o" / "compare.json").read_text())["methods"]
    assert set(found) == {"fbp", "sirt", "cgls", "tv", "diffusion"}


def test_every_page_of_the_app_draws(installed, tmp_path):
    code = """
import sys
from streamlit.testing.v1 import AppTest
from tomopatch.installation import app_folder

folder = app_folder()
sys.path.insert(0, str(folder))  # as Streamlit does with the folder of its script
app = AppTest.from_file(str(folder / "app.py"), default_timeout=200).run()
for page in sorted((folder / "pages").glob("*.py")):
    if page.stem != "__init__":
        app.switch_page(f"pages/{page.name}").run()
        assert not app.exception, (page.stem, app.exception)
        print(page.stem)
import pages
print(pages.__path__[0])
"""
    done = run(installed[0], tmp_path / "empty", "-c", code)
    assert done.returncode == 0, done.stderr[-2000:]
    *drawn, folder = done.stdout.splitlines()
    assert set(drawn) == {page.stem for page in (ROOT / "pages").glob("*.py")} - {"__init__"}
    assert Path(folder).is_relative_to(installed[0])


def test_the_app_starts(installed, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(installed[0]), "TOMOPATCH_STORE": str(tmp_path / "store")}
    command = [sys.executable, "-m", "tomopatch", "app", "--port", str(port), "--headless"]
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert server.poll() is None, "the app ended"
                assert time.monotonic() < deadline
                time.sleep(0.2)
        server.terminate()  # the server itself, which ends its workers
        server.wait(60)
        with pytest.raises(OSError, match=r"refused|Connect"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 9)
