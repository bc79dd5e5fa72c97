"""These tests are about the worker processes themselves."""

import pytest


@pytest.fixture(autouse=True)
def own_programs(real_workers):
    """Use the workers of a server."""
