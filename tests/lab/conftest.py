"""What the lab tests share: an engine, and one run of every seed scenario that all may look at.

A test that needs an engine is skipped with the reason where none answers; with TESTBED_REQUIRE_ENGINE=1, as CI sets it
where there is an engine, it fails instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_driver import PATIENCE_S, Seeds, seen

from testbed.errors import LabError

if TYPE_CHECKING:
    import docker as docker_module

QUICK = ("fast", "captures", "errors")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in a lab come first and the quick ones last: no worker shall be left alone with a long file at the end.

    This is called with the tests of all folders, behind pytest-randomly; within a group its order stays.
    """
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        return 0 if item.path.is_relative_to(here) else 1 + (item.path.parent.name in QUICK)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def engine() -> Iterator[docker_module.DockerClient]:
    """A Docker engine that answers."""
    from testbed.lab.engine import connect

    try:
        client = connect()
    except LabError as error:
        if os.environ.get("TESTBED_REQUIRE_ENGINE") == "1":
            pytest.fail(f"TESTBED_REQUIRE_ENGINE is set, and {error}")
        pytest.skip(error.message)
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker_module.DockerClient) -> str:
    """The image that hosts run, built where it is missing."""
    from testbed.lab.images import ensure_image

    return ensure_image(engine, print)


@pytest.fixture(scope="session")
def seeds(image: str, tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    """All seed scenarios, run once on Docker Compose."""
    out = tmp_path_factory.mktemp("seeds")
    words = ("run", "--tag", "seed", "--jobs", "2", "--backend", "compose", "--out", out)
    return Seeds(seen(PATIENCE_S, *words), out)
