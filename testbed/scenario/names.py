"""Names that the parts of a scenario call each other by: hosts, directions between two of them, ports."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

HOST_NAME = r"^[a-z][a-z0-9-]{0,20}$"
DIRECTION = r"^[a-z][a-z0-9-]*->[a-z][a-z0-9-]*$"
# 1 to 65535: keys are text, so only a pattern can say it.
PORT = r"^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"  # fmt: skip

HostName = Annotated[str, Field(pattern=HOST_NAME)]
Direction = Annotated[str, Field(pattern=DIRECTION)]
PortName = Annotated[str, Field(pattern=PORT)]
