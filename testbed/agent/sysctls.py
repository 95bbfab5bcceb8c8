"""Sysctls of this network namespace that a run sets, and what they were before it: sysctl(8), ip-sysctl.rst."""

from __future__ import annotations

import errno

from testbed.agent.host import read_sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Sysctls:
    """Sets sysctls, and puts them back."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}

    def set(self, values: Mapping[str, str]) -> None:
        """Set all. Raises OSError that names the one that the kernel refuses; those before it stay set."""
        for name, value in values.items():
            before = read_sysctl(name)
            _write(name, value)
            if before is not None:
                self._before.setdefault(name, before)

    def put_back(self) -> list[str]:
        """Make all what they were; which are not, in words. Raises OSError."""
        before, self._before = self._before, {}
        for name, value in before.items():
            _write(name, value)
        return [
            f"the sysctl {name}, changed from {value}" for name, value in before.items() if read_sysctl(name) != value
        ]


def _write(name: str, value: str) -> None:
    try:
        with open("/proc/sys/" + name.replace(".", "/"), "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(value)
    except FileNotFoundError:
        raise OSError(errno.ENOENT, f"the kernel has no sysctl of that name: {name}") from None
    except OSError as trouble:
        raise OSError(trouble.errno, f"{name} = {value} cannot be set: {trouble.strerror}") from None
