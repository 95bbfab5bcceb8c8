"""Taking down what is the swarm's: with a manager that has lost its leader, and an engine whose copy goes later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import docker
import pytest

from testbed.lab.swarm import removal

RUN = "20261121-100000-abcdef-hola"


class Api:
    """What of an engine is asked here. `answers` are given one after the other, the last again and again."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.removed: list[str] = []

    def _answer(self, name: str) -> Any:
        answers = self.answers.get(name) or [[]]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def containers(self, **_: Any) -> Any:
        return self._answer("containers")

    def networks(self, filters: Mapping[str, Any]) -> Any:
        return self._answer("networks") if filters["scope"] == "swarm" else []

    def inspect_swarm(self) -> Any:
        return self._answer("inspect_swarm")

    def remove_network(self, network: str) -> None:
        self._answer("remove_network")
        self.removed.append(network)


class Client:
    """An engine."""

    def __init__(self, **answers: list[Any]) -> None:
        self.api = Api(**answers)


def refused(says: str) -> docker.errors.APIError:
    """What an engine answers with."""
    return docker.errors.APIError("500", explanation=says)


def remove(engines: Mapping[str, Client]) -> removal.Removed:
    """As the lab does at its end; the first engine is the manager."""
    return removal.remove_swarm_lab(cast(Any, engines), list(engines)[:1], RUN)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here takes longer than it is told to."""
    monkeypatch.setattr(removal, "POLL_S", 0.001)
    monkeypatch.setattr(removal, "NETWORK_TIMEOUT_S", 0.2)


NETWORK = [{"Id": "one"}]


def test_a_manager_without_leader_is_not_believed() -> None:
    """Its list lacks the network, and no error says so: who asks it first would leave the network there for ever."""
    manager = Client(inspect_swarm=[refused("The swarm does not have a leader."), {}], networks=[NETWORK, []])
    assert remove({"a": manager}) == removal.Removed(1)
    assert manager.api.removed == ["one"]


def test_a_leader_that_does_not_come_back() -> None:
    """Is told, and nothing is held for removed."""
    manager = Client(inspect_swarm=[refused("The swarm does not have a leader.")], networks=[[]])
    removed = remove({"a": manager})
    assert removed.number == 0
    (trouble,) = removed.troubles
    assert trouble.startswith("a: removing the overlay network")
    assert "does not have a leader" in trouble


def test_a_task_that_goes_later() -> None:
    """Until then the network is in use."""
    manager = Client(networks=[NETWORK, []], remove_network=[refused("network one is in use by task x"), None])
    assert remove({"a": manager}) == removal.Removed(1)


def test_a_copy_that_goes_later() -> None:
    """The run has ended once no engine has one."""
    worker = Client(networks=[NETWORK, NETWORK, []])
    assert remove({"a": Client(networks=[NETWORK, []]), "b": worker}) == removal.Removed(1)
    assert worker.api._answer("networks") == []


def test_a_copy_that_stays() -> None:
    """Is told, with the engine that has it."""
    removed = remove({"a": Client(networks=[NETWORK, []]), "b": Client(networks=[NETWORK])})
    assert removed == removal.Removed(1, ("b: a copy of the removed network stays until this engine is started again",))


def test_an_engine_that_does_not_answer_has_been_told_of() -> None:
    """Its copy is not waited for."""
    gone = docker.errors.DockerException("gone")
    removed = remove({"a": Client(networks=[NETWORK, []]), "b": Client(containers=[gone], networks=[gone])})
    (trouble,) = removed.troubles
    assert trouble.startswith("b: taking down the lab")
