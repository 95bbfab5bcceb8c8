"""Makes captures anew: `cd tests && python -m captures [NAME...]`, all of them where none is named."""

from __future__ import annotations

import sys

from captures.corpus import CASES, FORMS


def main(names: list[str]) -> None:
    """Write each capture into its folder, as pcapng where it is that."""
    for case in CASES:
        if not names or case.name in names:
            made = case.make()
            (case.folder / FORMS[made[:4] == b"\x0a\x0d\x0d\x0a"]).write_bytes(made)


main(sys.argv[1:])
