"""What this host's kernel can be tried for, by the words that scenarios require (testbed/scenario/requires.py).

Each is tried on sockets of its own, which are gone afterwards: a kernel's configuration cannot be read everywhere, and
a setting that is there may still be refused. A new one is a row of ABILITIES.
"""

from __future__ import annotations

import errno
import os
import socket

from testbed.agent import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def try_each(words: list[str]) -> dict[str, str]:
    """Those of the words that do not work here, each with the reason."""
    tried = {word: _try(word) for word in words}
    return {word: says for word, says in tried.items() if says}


def _try(word: str) -> str:
    if word not in ABILITIES:
        return "the agent does not know how to try it"
    try:
        ABILITIES[word]()
    except OSError as trouble:
        return trouble.strerror or os.strerror(trouble.errno or 0)
    return ""


def sign() -> None:
    """A key for the segments of an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(*options.find("TCP_MD5SIG"), options.pack_md5("127.0.0.1", "key"))


def open_fast() -> None:
    """Both ends' options of TCP fast open."""
    for name in ("TCP_FASTOPEN", "TCP_FASTOPEN_CONNECT"):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            one.setsockopt(*options.find(name), 1)


def destroy() -> None:
    """A socket that listens on a free port, and is destroyed."""
    from testbed.agent.diag import NETLINK_SOCK_DIAG, SocketTable, decode
    from testbed.agent.netlink import Netlink
    from testbed.agent.reset import destroy_socket

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.bind(("127.0.0.1", 0))
        one.listen(1)
        local = f"127.0.0.1:{one.getsockname()[1]}"
        with SocketTable() as table, Netlink(NETLINK_SOCK_DIAG) as netlink:
            mine = [body for body in table.raw() if decode(body).local == local]
            if not mine:
                raise OSError(errno.ENOENT, "the kernel does not show its TCP sockets")
            destroy_socket(netlink, mine[0])


ABILITIES: dict[str, Callable[[], None]] = {"md5": sign, "fast-open": open_fast, "sock-destroy": destroy}
