"""The `testbed` command. Kept small: what is imported here is imported before anything can be interrupted cleanly."""

from __future__ import annotations

import signal
import sys
from types import FrameType

INTERRUPTED = 130
INTERNAL_ERROR = 3


def main() -> None:
    """Run the command line and exit with its code.

    Ctrl-C and SIGTERM end with 130 also while modules are still being imported; once there is a verdict they change
    nothing any more.
    """
    signal.signal(signal.SIGTERM, _end)
    try:
        from testbed.cli import app

        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception:  # noqa: BLE001 - not swallowed: shown whole, and kept from looking like a failed check (exit code 1)
        import traceback

        traceback.print_exc()
        sys.stderr.write("testbed: this is a mistake in the testbed itself, not in your scenario; please report it\n")
        sys.exit(INTERNAL_ERROR)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
