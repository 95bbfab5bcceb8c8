"""Reading of capture files: pcap and pcapng, also when gzip'ed.

What a file begins with tells its format; its name does not matter. Any bytes give either a capture, with warnings for
what could not be read, or a `UsageError` when they are no capture at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from testbed.errors import UsageError
from testbed.pcap import classic, pcapng
from testbed.pcap.frame import Capture, Frame
from testbed.pcap.gunzip import GZIP_MAGIC, MAX_INFLATED, inflate
from testbed.pcap.notes import Notes
from testbed.pcap.window import Window

_LONGEST_BEGINNING = 16  # bytes that tell what a file is
_CONVERT = "Convert it first: editcap -F pcapng FILE NEW."
_UNPACK = "Unpack it first."
# how a file that we cannot read begins: (what it is, what to do about it)
_STRANGERS: dict[bytes, tuple[str, str]] = {
    b"snoop\0\0\0": ("a snoop file", _CONVERT),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", _UNPACK),
    b"\x04\x22\x4d\x18": ("compressed by lz4", _UNPACK),
    b"\xfd7zXZ\0": ("compressed by xz", _UNPACK),
    b"BZh": ("compressed by bzip2", _UNPACK),
    b"PK\x03\x04": ("a zip archive", _UNPACK),
    b"\x7fELF": ("a program", "Give a pcap or pcapng file."),
}


def read_capture(data: bytes, *, limit: int = MAX_INFLATED) -> Capture:
    """Read a whole capture file.

    `limit` bounds the size of gzip'ed data once unpacked. Raises `UsageError` if the bytes are no capture.
    """
    notes = Notes()
    frames = tuple(iterate_frames(data, notes, limit=limit))
    return Capture(
        interfaces=tuple(notes.interfaces),
        frames=frames,
        statistics=tuple(notes.statistics),
        comments=tuple(notes.comments),
        warnings=notes.all_warnings(),
    )


def iterate_frames(data: bytes, notes: Notes, *, limit: int = MAX_INFLATED) -> Iterator[Frame]:
    """Yield the frames one by one, so that they need not all be held at once; all else goes to `notes`.

    `notes` is complete when the iterator is exhausted; a frame's interface is in it before the frame.
    Raises `UsageError` at once if the bytes are no capture.
    """
    return open_capture((data,), notes, limit=limit).frames()


def open_capture(chunks: Iterable[bytes], notes: Notes, *, limit: int | None = None) -> classic.Reader | pcapng.Reader:
    """The reader of a capture that comes in chunks, of which it holds no more than it must.

    Raises `UsageError` if they are no capture; `limit` bounds the size of gzip'ed data once unpacked.
    """
    window = Window(chunks)
    window.more(len(GZIP_MAGIC))
    if window.data[:2] == GZIP_MAGIC:
        window = _unpack(window, notes, limit)
    window.more(_LONGEST_BEGINNING)
    if window.data[:4] in classic.FORMATS:
        return classic.Reader(window, notes)
    if pcapng.begins_section(window.data):
        return pcapng.Reader(window, notes)
    raise _refuse(window.data)


def _unpack(packed: Window, notes: Notes, limit: int | None) -> Window:
    """The unpacked file of a gzip'ed one."""
    complaints: list[str] = []

    def complain(offset: int, words: str) -> None:
        complaints.append(words)
        notes.warn(offset, words)

    window = Window(inflate(packed.rest(), limit, complain))
    if not window.more(1) and complaints:
        raise UsageError(f"This is no capture file: {complaints[0]}, and nothing could be unpacked.", remedy=_UNPACK)
    return window


def _refuse(data: bytes) -> UsageError:
    if not data:
        return UsageError(
            "This is no capture file: it is empty.",
            remedy="A capture that was killed may have left its packets unwritten; capture again (tcpdump -U).",
        )
    for beginning, (what, remedy) in _STRANGERS.items():
        if data.startswith(beginning):
            return UsageError(f"This is no capture file that we can read: it is {what}.", remedy=remedy)
    return UsageError(
        f"This is no capture file: it begins with {data[:4].hex(' ')}.",
        remedy="Give a pcap or pcapng file, as tcpdump, dumpcap and Wireshark write them.",
    )
