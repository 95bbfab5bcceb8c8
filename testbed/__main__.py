"""The `testbed` command. Kept small: what is imported here is imported before anything can be interrupted cleanly."""

from __future__ import annotations

import sys

INTERNAL_ERROR = 3


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from testbed.cli import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:  # noqa: BLE001 - not swallowed: shown whole, and kept from looking like a failed check (exit code 1)
        import traceback

        traceback.print_exc()
        sys.stderr.write("testbed: this is a mistake in the testbed itself, not in your scenario; please report it\n")
        sys.exit(INTERNAL_ERROR)


if __name__ == "__main__":
    main()
