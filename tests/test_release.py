"""The release has one version everywhere, and pinned versions within the declared ranges."""

import argparse
import json
import re
import shlex
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tomopatch
from tomopatch.cli.app import add_arguments

ROOT = Path(__file__).resolve().parents[1]


def test_the_citation_and_the_changelog_have_the_version_of_the_package():
    newest = re.search(
        r"^## \[(.+)\] - (\d{4}-\d{2}-\d{2})$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M
    )
    assert newest is not None
    version, date = newest.groups()
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert version == tomopatch.__version__
    assert f"\nversion: {version}\n" in citation
    assert f"\ndate-released: {date}\n" in citation


def requirements(*extras: str) -> dict[str, Requirement]:
    """The requirements of the package and of these extras, by normalised name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(r for e in extras for r in project["optional-dependencies"][e])]
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def test_the_constraints_pin_every_requirement_within_its_range():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    versions = {}
    for pin in pins:
        assert pin.url is None
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert "+" not in specifier.version, f"{pin.name} has a version of one platform"
        versions[canonicalize_name(pin.name)] = specifier.version
    assert len(versions) == len(pins)
    for name, requirement in requirements("test").items():
        assert name in versions, f"constraints.txt lacks {name}"
        assert requirement.specifier.contains(versions[name]), (
            f"{requirement} does not allow {versions[name]}"
        )


def test_the_docker_image_and_the_hosted_app_get_what_the_readme_installs():
    assert (ROOT / "requirements.txt").read_text("utf-8").splitlines()[-1] == "."
    docker = (ROOT / "Dockerfile").read_text("utf-8")
    assert "-c constraints.txt ." in docker
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert not {"core", "pages", "app.py", "pretrained", ".streamlit", "constraints.txt"} & set(ignored)


def test_the_commands_of_the_docker_image_are_valid():
    """The health check is Python, and the server's command has flags that exist."""
    docker = (ROOT / "Dockerfile").read_text("utf-8")
    health, server = (json.loads(found) for found in re.findall(r"^ *CMD (\[.+\])$", docker, re.M))
    assert health[:2] == ["python", "-c"]
    compile(health[2], "health", "exec")
    assert server[:2] == ["sh", "-c"]
    program, *words = shlex.split(server[2])
    settings = dict(re.findall(r"(TOMOPATCH_\w+)=(\S+)", docker))
    words = [settings.get(word.removeprefix("$"), word) for word in words]
    assert [program, *words[:2]] == ["exec", "tomopatch", "app"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(words[2:])
    assert (arguments.address, arguments.port, arguments.demo) == ("0.0.0.0", 8501, True)
