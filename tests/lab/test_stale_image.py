"""An image whose agent is another one than the checkout's: refused before anything is played."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_driver import ROOT

from testbed.errors import LabError
from testbed.files import find_scenario
from testbed.lab import compose
from testbed.session import Job, Options, new_run_id, run_scenario
from testbed.stop import Stop

if TYPE_CHECKING:
    import docker as docker_module

pytestmark = pytest.mark.lab

STALE = "testbed-host-stale:test"
LINE = "# a line that the checkout does not have\n"


@pytest.fixture
def stale(engine: docker_module.DockerClient, image: str) -> Iterator[str]:
    """The host image with one line more in its agent."""
    files = {
        "Dockerfile": f"FROM {image}\nCOPY offset.py /opt/testbed/agent/offset.py\n",
        "offset.py": (ROOT / "testbed/agent/offset.py").read_text() + LINE,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    buffer.seek(0)
    engine.images.build(fileobj=buffer, custom_context=True, tag=STALE, rm=True)
    yield STALE
    engine.images.remove(STALE, force=True)


def test_an_image_with_another_agent_is_refused(stale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the host and says what to do; there is no result, and nothing is left."""
    monkeypatch.setattr(compose, "ensure_image", lambda client, say: stale)
    options = Options(backend="compose", out=tmp_path)
    with pytest.raises(LabError, match=r"the agent on \w+ is not this testbed's: its files sum to") as caught:
        run_scenario(Job(find_scenario("hola"), "hola"), options, new_run_id(), Stop(), lambda words: None)
    assert "the image is stale" in caught.value.remedy
    assert not list(tmp_path.rglob("result.json"))
