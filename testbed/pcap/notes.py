"""What the reading of a capture file gathers beside its frames."""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.pcap.frame import Interface, InterfaceStatistics

MAX_WARNINGS = 50


@dataclass(slots=True)
class Notes:
    """Interfaces, statistics, comments and warnings, growing while frames are read.

    An interface is here before the first frame that was captured on it. A file that is wrong everywhere would give a
    warning per block, so only the first `MAX_WARNINGS` are kept, and the others counted.
    """

    interfaces: list[Interface] = field(default_factory=list)
    statistics: list[InterfaceStatistics] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unsaid: int = 0

    def warn(self, offset: int, words: str) -> None:
        """Say what could not be read, and at which byte of the (decompressed) file."""
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(f"byte {offset}: {words}")
        else:
            self.unsaid += 1

    def all_warnings(self) -> tuple[str, ...]:
        """The warnings, and how many more there were."""
        return (*self.warnings, f"and {self.unsaid} more warnings") if self.unsaid else tuple(self.warnings)
