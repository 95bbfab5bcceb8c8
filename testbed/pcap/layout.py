"""The fixed parts of pcapng's blocks and options, compiled for each byte order."""

from __future__ import annotations

from struct import Struct
from typing import Literal, NamedTuple

from testbed.pcap.blocks import BYTE_ORDER_MAGIC

# the fixed part of each block's body, as struct writes it
_FORMS = {
    "block": "II",  # type, total length
    "section": "4xHH8x",  # byte-order magic, version, section length
    "interface": "HHI",  # link type, reserved, snap length
    "packet": "HHIIII",  # interface, drops, time high and low, captured, on the wire
    "simple": "I",  # on the wire
    "statistics": "III",  # interface, time high and low
    "enhanced": "IIIII",  # interface, time high and low, captured, on the wire
    "option": "HH",  # code, length
}


class Layout(NamedTuple):
    """How to read the numbers of a section."""

    order: Literal["little", "big"]
    block: Struct
    section: Struct
    interface: Struct
    packet: Struct
    simple: Struct
    statistics: Struct
    enhanced: Struct
    option: Struct

    def number(self, value: bytes) -> int:
        """Read an unsigned number of any size."""
        return int.from_bytes(value, self.order)


LITTLE = Layout("little", **{name: Struct("<" + form) for name, form in _FORMS.items()})
BIG = Layout("big", **{name: Struct(">" + form) for name, form in _FORMS.items()})
# by the byte-order magic as it stands in the file
LAYOUTS: dict[bytes, Layout] = {
    BYTE_ORDER_MAGIC.to_bytes(4, "little"): LITTLE,
    BYTE_ORDER_MAGIC.to_bytes(4, "big"): BIG,
}
