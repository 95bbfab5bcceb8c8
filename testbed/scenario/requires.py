"""What a scenario needs of the hosts' kernel, and what is expected of some kernels only.

A requirement that is not met makes the scenario not applicable, with the reason: it is not played, and neither passed
nor failed (docs/decisions/0030-not-applicable.md). Kernel and sysctls are known before a lab is brought up, where the
hosts run on this machine; what has to be tried (ABILITIES) is asked of the hosts once they are up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field

from testbed.scenario.units import KernelRange, Kernels
from testbed.scenario.values import Value

V = TypeVar("V", bound=BaseModel)
SYSCTL = r"^net\.[a-z0-9_.-]+$"

# Words for what the kernel of a host can be tried for; testbed/agent/abilities.py tries them.
ABILITIES: Mapping[str, str] = {
    "md5": "TCP_MD5SIG: segments signed with MD5 (RFC 2385)",
    "fast-open": "TCP_FASTOPEN and TCP_FASTOPEN_CONNECT (RFC 7413)",
    "sock-destroy": "SOCK_DESTROY of sock_diag(7), which `vanish` and `reboot` are made with",
}
Ability = Literal["md5", "fast-open", "sock-destroy"]


class Requires(Value):
    """What the hosts' kernel must have; where it lacks something the scenario is not applicable."""

    kernel: Kernels | None = Field(None, description="Linux versions.")
    sysctls: tuple[Annotated[str, Field(pattern=SYSCTL)], ...] = Field((), description="Sysctls that are there.")
    abilities: tuple[Ability, ...] = Field((), description="What must work when it is tried.")


def unmet(requires: Requires, release: str, version: tuple[int, int], has: Callable[[str], bool]) -> Iterator[str]:
    """What a kernel lacks, in words; `has` tells whether there is a sysctl of a name."""
    if requires.kernel is not None and version not in requires.kernel:
        yield f"it is about Linux {say_kernels(requires.kernel)}, and the hosts' is {release}"
    missing = [name for name in requires.sysctls if not has(name)]
    if missing:
        yield f"the hosts' kernel, {release}, has no {' and no '.join(missing)}"


def say_kernels(kernels: KernelRange) -> str:
    """The range in words."""
    low, high = ("" if end is None else f"{end[0]}.{end[1]}" for end in (kernels.low, kernels.high))
    if low == high:
        return low
    return f"{low} to {high}" if low and high else f"from {low} on" if low else f"up to {high}"


def merge(base: V, over: BaseModel, *, without: frozenset[str] = frozenset()) -> V:
    """The value with what another one says laid over it: mappings key by key, all else whole."""
    told = {name: getattr(over, name) for name in over.model_fields_set if name not in without}
    return base.model_copy(update={name: _laid(getattr(base, name), value) for name, value in told.items()})


def _laid(base: Any, over: Any) -> Any:
    if isinstance(base, BaseModel) and isinstance(over, BaseModel):
        return merge(base, over)
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: _laid(base.get(key), value) for key, value in over.items()}}
    return over


def places(over: Any, at: str, where: str) -> Iterator[tuple[str, str]]:
    """Each path that is laid over, as it is in the merged value and as it stands in the file."""
    named = over.model_fields_set if isinstance(over, BaseModel) else over if isinstance(over, dict) else ()
    for name in named:
        inner = getattr(over, name) if isinstance(over, BaseModel) else over[name]
        key = str(getattr(name, "value", name))
        yield f"{at}.{key}", f"{where}.{key}"
        yield from places(inner, f"{at}.{key}", f"{where}.{key}")
