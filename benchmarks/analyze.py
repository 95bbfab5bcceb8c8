"""How fast captures are analysed, against others who read the same files, in one go.

Usage: python -m benchmarks.analyze [--runs 5] [--memory]

Two captures of 200,000 packets: 20,000 connections of ten packets, many at once, and one bulk transfer. Ours says of
every connection all that its line in the table says. tshark says stream, completeness and retransmissions; dpkt decodes
Ethernet, IP and TCP, and nothing else; scapy's PcapReader dissects (a tenth of the capture; its time is multiplied by
ten); the floor only walks the records of the file. They run in turn, each in a fresh process; its imports do not count,
tshark's start does. Then come our careful way without numpy, and the whole command with its table and with JSON.
`--memory` adds the most memory that a capture of 1 GiB takes. dpkt and scapy must be installed; tshark is left out
where it is missing.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from statistics import median

from benchmarks import traffic

PACKETS = 200_000
CHUNK = 1 << 22
GIB = 1 << 30
SCAPY_SHARE = 10
# what the others' time is to be of ours, at least; of the floor's, ours at most so many times
AIMS = {"tshark": 10.0, "dpkt": 5.0, "scapy": 100.0, "floor": 4.0}
MEMORY_AIM_MB = 300
TSHARK = ("-T", "fields", "-e", "tcp.stream", "-e", "tcp.completeness", "-e", "tcp.analysis.retransmission")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def ours(path: Path) -> float:
    """Our analysis."""
    from testbed.analyze import Analyzer
    from testbed.summary import summarize
    from testbed.tcp.connection import Connection

    import_module("testbed.columns.follow")
    start = time.perf_counter()
    told = 0
    for result in Analyzer(_chunks(path)).results():
        if isinstance(result, Connection):
            told += summarize(result) is not None
        else:
            told += sum(1 for _ in result.summaries())
    seconds = time.perf_counter() - start
    assert told
    return seconds


def careful(path: Path) -> float:
    """Our analysis packet by packet, without numpy."""
    from testbed.analyze import Analyzer
    from testbed.summary import summarize

    start = time.perf_counter()
    assert all(summarize(connection) for connection in Analyzer(_chunks(path), columns=False).connections())
    return time.perf_counter() - start


def _command(path: Path, *options: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "testbed", "analyze", str(path), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def table(path: Path) -> float:
    """The whole command, with its table."""
    return _command(path)


def as_json(path: Path) -> float:
    """The whole command, with JSON."""
    return _command(path, "--json")


def tshark(path: Path) -> float:
    """The whole of tshark."""
    start = time.perf_counter()
    subprocess.run(["tshark", "-r", str(path), *TSHARK], check=True, capture_output=True)
    return time.perf_counter() - start


def dpkt(path: Path) -> float:
    """The bare decode of dpkt."""
    dpkt = import_module("dpkt")
    start = time.perf_counter()
    with path.open("rb") as file:
        for _, frame in dpkt.pcap.Reader(file):
            dpkt.ethernet.Ethernet(frame)
    return time.perf_counter() - start


def scapy(path: Path) -> float:
    """scapy's reader, on a part of the capture."""
    from scapy.utils import PcapReader

    import_module("scapy.layers.l2")
    import_module("scapy.layers.inet")
    start = time.perf_counter()
    with PcapReader(str(path)) as reader:
        count = sum(1 for _ in islice(reader, PACKETS // SCAPY_SHARE))
    return (time.perf_counter() - start) * PACKETS / count


def floor(path: Path) -> float:
    """A loop that only walks the records."""
    unpack = struct.Struct("<IIII").unpack
    start = time.perf_counter()
    with path.open("rb") as file:
        read = file.read
        read(24)
        while header := read(16):
            read(unpack(header)[2])
    return time.perf_counter() - start


CONTENDERS: tuple[Callable[[Path], float], ...] = (ours, floor, dpkt, tshark, scapy, careful, table, as_json)


def run(contender: Callable[[Path], float], path: Path) -> tuple[float, int]:
    """Seconds, and the most memory in MB, of one run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.analyze", "--only", contender.__name__, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, memory = json.loads(done.stdout)
    return seconds, memory


def run_here(name: str, path: Path) -> None:
    """What such a process does."""
    seconds = next(contender for contender in CONTENDERS if contender.__name__ == name)(path)
    of = resource.RUSAGE_CHILDREN if name in (table.__name__, as_json.__name__) else resource.RUSAGE_SELF
    print(json.dumps([seconds, resource.getrusage(of).ru_maxrss // 1024]))


def compare(title: str, path: Path, runs: int) -> None:
    """Print the medians for one capture."""
    chosen = [one for one in CONTENDERS if one is not tshark or shutil.which("tshark")]
    times: dict[str, list[float]] = {one.__name__: [] for one in chosen}
    for number in range(runs + 1):
        for one in chosen:
            if one in (scapy, careful) and number > 1:
                continue
            seconds, _ = run(one, path)
            if number:  # the first round warms the disk's cache
                times[one.__name__].append(seconds)
    mine = median(times[ours.__name__])
    print(f"{title}: {path.stat().st_size >> 20} MiB, medians of {runs}")
    for name, all_times in times.items():
        middle = median(all_times)
        ratio, aim = (mine / middle if name == floor.__name__ else middle / mine), AIMS.get(name)
        wanted = f"(aim: {'at most' if name == floor.__name__ else 'at least'} {aim:g})" if aim else ""
        print(
            f"  {name:8} {middle:8.3f} s   ({min(all_times):.3f} to {max(all_times):.3f})   ratio {ratio:7.2f} {wanted}"
        )


def weigh(folder: Path, small: Path) -> None:
    """Print how much memory 1 GiB takes."""
    many, one = folder / "many.pcap", folder / "one.pcap"
    traffic.write_copies(many, small, GIB)
    traffic.write(one, traffic.bulk(GIB * 3 // (2 * 1530 + 82)))
    for title, path in (("many connections", many), ("one connection", one)):
        for contender in (ours, table, as_json):
            seconds, memory = run(contender, path)
            size = path.stat().st_size >> 20
            print(f"{title}, {size} MiB: {contender.__name__:8} {memory} MB, {seconds:.1f} s (aim: {MEMORY_AIM_MB} MB)")


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("file", nargs="?", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only:
        run_here(chosen.only, chosen.file)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        interleaved, bulk = folder / "interleaved.pcap", folder / "bulk.pcap"
        traffic.write(interleaved, traffic.interleaved(PACKETS // traffic.PACKETS_EACH))
        traffic.write(bulk, traffic.bulk(PACKETS))
        compare("20,000 interleaved connections", interleaved, chosen.runs)
        compare("one bulk connection", bulk, chosen.runs)
        if chosen.memory:
            weigh(folder, interleaved)


if __name__ == "__main__":
    main()
