"""`python3 -m testbed.agent`: requests on standard input, answers and events on standard output."""

from __future__ import annotations

import sys

from testbed.agent.control import main

if __name__ == "__main__":
    sys.exit(main())
