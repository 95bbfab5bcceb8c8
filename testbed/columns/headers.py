"""From frames to TCP segments, a block at a time: the same rules as `testbed.decode`, for what is plain.

Plain is Ethernet (with VLAN tags), Linux cooked, loopback or raw IP; IPv4 without options or IPv6 without extension
headers, not a fragment, with its length; TCP with all of its header captured. Frames with anything else are `odd`, and
decoded one by one. UDP and ICMP that have their headers are passed over: nobody asks for them here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from testbed.columns.checksum import MODULUS, add_words
from testbed.columns.records import Column, Records, gather
from testbed.decode.link import ADDRESS_FAMILIES, VLAN_TAGS
from testbed.decode.transport import UDP_TUNNELS
from testbed.packet import Protocol
from testbed.pcap.frame import LinkType

Mask = NDArray[np.bool_]
Numbers = NDArray[np.integer]  # as they stand in the packets

_TAGS = tuple(VLAN_TAGS)
_MOST_TAGS = 3
# link type: where the EtherType stands, and where what follows it begins
_ETHERTYPES = {LinkType.ETHERNET: (12, 14), LinkType.LINUX_SLL: (14, 16), LinkType.LINUX_SLL2: (0, 20)}
_RAW = frozenset({LinkType.RAW, 12, 14, LinkType.IPV4, LinkType.IPV6})
_LOOPBACK = frozenset({LinkType.NULL, LinkType.LOOP})
_SHORTEST = {Protocol.UDP: 8, Protocol.ICMP: 4, Protocol.ICMPV6: 4}

_IPV4 = np.dtype(
    [
        ("first", "u1"), ("service", "u1"), ("total", ">u2"), ("id", ">u2"), ("piece", ">u2"), ("ttl", "u1"),
        ("protocol", "u1"), ("checksum", ">u2"), ("source", ">u4"), ("destination", ">u4"),
    ]
)  # fmt: skip
_IPV6 = np.dtype(
    [("first", ">u4"), ("size", ">u2"), ("protocol", "u1"), ("ttl", "u1"), ("source", "V16"), ("destination", "V16")]
)
_TCP = np.dtype(
    [
        ("source", ">u2"), ("destination", ">u2"), ("sequence", ">u4"), ("acknowledgement", ">u4"), ("bits", ">u2"),
        ("window", ">u2"), ("checksum", ">u2"), ("urgent", ">u2"),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Datagrams:
    """IP packets of one version: rows of the records, and what their headers say; places are in `data`."""

    row: Column
    start: Column  # of the payload
    end: Column  # by the header; more than was captured when the frame was cut
    length: Column
    protocol: Column
    source: NDArray[np.void]  # the address, 4 or 16 bytes
    destination: NDArray[np.void]
    ip_id: Column  # -1 where there is none
    ttl: Numbers
    ecn: Column
    sound: Mask
    sum: Column  # of both addresses, for the pseudo header


@dataclass(frozen=True, slots=True)
class Segments:
    """TCP segments in order of their rows, and the header fields of each."""

    ip: Datagrams
    source_port: Column
    destination_port: Column
    sequence: Numbers
    acknowledgement: Numbers
    flags: Numbers
    window: Numbers
    urgent: Numbers
    options: Column  # where they begin
    body: Column  # where the payload begins
    captured: Column  # bytes of the payload
    checksum_ok: Column  # 1, 0, 2 for a wrong IPv4 header, or -1 where it is not known


@dataclass(frozen=True, slots=True)
class Headers:
    """A block, decoded: the segments over IPv4 and IPv6, and the rows that must be decoded one by one."""

    segments: tuple[Segments, ...]
    odd: Column


def read_headers(records: Records, link_types: list[int]) -> Headers:
    """Decode what is plain."""
    odd = np.ones(len(records.start), bool)
    found = []
    for version, row, at in _find_ip(records, link_types):
        ip = (_read_ipv4 if version == 4 else _read_ipv6)(records, row, at)
        _pass_over(records, ip, odd)
        segments = _read_tcp(records, _of_protocol(ip, Protocol.TCP))
        odd[segments.ip.row] = False
        if len(segments.ip.row):
            found.append(segments)
    return Headers(tuple(found), np.flatnonzero(odd))


def _find_ip(records: Records, link_types: list[int]) -> list[tuple[int, Column, Column]]:
    """(IP version, rows, where the IP header begins), by link type."""
    found: list[tuple[int, Column, Column]] = []
    interfaces = np.unique(records.interface).tolist() if len(link_types) > 1 else [0]
    for link_type in {link_types[index] for index in interfaces}:
        there = [index for index in interfaces if link_types[index] == link_type]
        rows = (
            np.flatnonzero(np.isin(records.interface, there)) if len(interfaces) > 1 else np.arange(len(records.start))
        )
        if link_type in _ETHERTYPES:
            found += _by_ethertype(records, rows, *_ETHERTYPES[LinkType(link_type)])
        elif link_type in _RAW:
            found += _by_version(records, rows)
        elif link_type in _LOOPBACK:
            found += _by_family(records, rows)
    return found


def _numbers(records: Records, at: Column, form: str) -> Column:
    """The numbers at these places (which may lie behind what was captured)."""
    return gather(records.data, at, np.dtype(form).itemsize).view(form).astype(np.int64)


def _by_ethertype(records: Records, rows: Column, field: int, header: int) -> list[tuple[int, Column, Column]]:
    start = records.start[rows]
    at = start + header
    kind = _numbers(records, start + field, ">u2")
    if field == 12:  # tags follow one another only there
        for _ in range(_MOST_TAGS):
            tagged = np.flatnonzero(np.isin(kind, _TAGS))
            if not len(tagged):
                break
            kind[tagged] = _numbers(records, at[tagged] + 2, ">u2")
            at[tagged] += 4
    return [(version, rows[kind == known], at[kind == known]) for known, version in ((0x0800, 4), (0x86DD, 6))]


def _by_version(records: Records, rows: Column) -> list[tuple[int, Column, Column]]:
    start = records.start[rows]
    version = _numbers(records, start, "u1") >> 4
    return [(known, rows[version == known], start[version == known]) for known in (4, 6)]


def _by_family(records: Records, rows: Column) -> list[tuple[int, Column, Column]]:
    start = records.start[rows]
    big, little = _numbers(records, start, ">u4"), _numbers(records, start, "<u4")
    family = np.where(big > 0xFFFF, little, big)
    found = []
    for version in (4, 6):
        there = np.isin(family, [number for number, known in ADDRESS_FAMILIES.items() if known == version])
        found.append((version, rows[there], start[there] + 4))
    return found


def _read_ipv4(records: Records, row: Column, at: Column) -> Datagrams:
    whole = at + 20 <= records.start[row] + records.captured[row]
    row, at = row[whole], at[whole]
    raw = gather(records.data, at, 20)
    ip = raw.view(_IPV4)
    total = ip["total"].astype(np.int64)
    good = (ip["first"] == 0x45) & (ip["piece"] & 0x3FFF == 0) & (total >= 20)
    if not good.all():
        row, at, raw, total = row[good], at[good], raw[good], total[good]
        ip = raw.view(_IPV4)
    words = raw.view(">u2").reshape(-1, 10).sum(axis=1, dtype=np.int64)
    source, destination = ip["source"].astype(np.int64), ip["destination"].astype(np.int64)
    return Datagrams(
        row=row,
        start=at + 20,
        end=at + total,
        length=total,
        protocol=ip["protocol"].astype(np.int64),
        source=np.ascontiguousarray(ip["source"]).view("V4"),
        destination=np.ascontiguousarray(ip["destination"]).view("V4"),
        ip_id=ip["id"].astype(np.int64),
        ttl=ip["ttl"],
        ecn=(ip["service"] & 3).astype(np.int64),
        sound=(ip["checksum"] == 0) | (words % MODULUS == 0),
        sum=source + destination,
    )


def _read_ipv6(records: Records, row: Column, at: Column) -> Datagrams:
    whole = at + 40 <= records.start[row] + records.captured[row]
    row, at = row[whole], at[whole]
    raw = gather(records.data, at, 40)
    ip = raw.view(_IPV6)
    size = ip["size"].astype(np.int64)
    known = np.isin(ip["protocol"], (Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.ICMPV6))
    good = (ip["first"] >> 28 == 6) & known & (size > 0)
    if not good.all():
        row, at, raw, size = row[good], at[good], raw[good], size[good]
        ip = raw.view(_IPV6)
    first = ip["first"].astype(np.int64)
    addresses = np.ascontiguousarray(raw.view("u1").reshape(-1, 40)[:, 8:])
    return Datagrams(
        row=row,
        start=at + 40,
        end=at + 40 + size,
        length=size + 40,
        protocol=ip["protocol"].astype(np.int64),
        source=np.ascontiguousarray(addresses[:, :16]).view("V16").ravel(),
        destination=np.ascontiguousarray(addresses[:, 16:]).view("V16").ravel(),
        ip_id=np.full(len(row), -1, np.int64),
        ttl=ip["ttl"],
        ecn=first >> 20 & 3,
        sound=np.ones(len(row), bool),
        sum=addresses.view(">u2").reshape(-1, 16).sum(axis=1, dtype=np.int64),
    )


def _pass_over(records: Records, ip: Datagrams, odd: Mask) -> None:
    captured = records.start[ip.row] + records.captured[ip.row]
    for protocol, size in _SHORTEST.items():
        there = ip.protocol == protocol
        if not there.any():
            continue
        whole = there & (ip.start + size <= ip.end) & (ip.start + size <= captured)
        if protocol == Protocol.UDP:
            whole[whole] = ~np.isin(_numbers(records, ip.start[whole] + 2, ">u2"), tuple(UDP_TUNNELS))
        odd[ip.row[whole]] = False


def _of_protocol(ip: Datagrams, protocol: int) -> Datagrams:
    return _keep(ip, ip.protocol == protocol)


def _keep(ip: Datagrams, rows: Mask) -> Datagrams:
    if rows.all():
        return ip
    return Datagrams(
        ip.row[rows], ip.start[rows], ip.end[rows], ip.length[rows], ip.protocol[rows], ip.source[rows],
        ip.destination[rows], ip.ip_id[rows], ip.ttl[rows], ip.ecn[rows], ip.sound[rows], ip.sum[rows],
    )  # fmt: skip


def _read_tcp(records: Records, ip: Datagrams) -> Segments:
    captured_end = records.start[ip.row] + records.captured[ip.row]
    header = _numbers(records, ip.start + 12, ">u2")
    body = ip.start + (header >> 12) * 4
    good = (ip.start + 20 <= np.minimum(captured_end, ip.end)) & (header >> 12 >= 5)
    good &= (body <= ip.end) & (body <= captured_end)
    if not good.all():
        ip, body, captured_end = _keep(ip, good), body[good], captured_end[good]
    tcp = gather(records.data, ip.start, 20).view(_TCP)
    return Segments(
        ip=ip,
        source_port=tcp["source"].astype(np.int64),
        destination_port=tcp["destination"].astype(np.int64),
        sequence=tcp["sequence"],
        acknowledgement=tcp["acknowledgement"],
        flags=tcp["bits"] & 0x1FF,
        window=tcp["window"],
        urgent=tcp["urgent"],
        options=ip.start + 20,
        body=body,
        captured=np.minimum(captured_end, ip.end) - body,
        checksum_ok=_verify(records, ip, captured_end, tcp["checksum"].astype(np.int64)),
    )


def _verify(records: Records, ip: Datagrams, captured_end: Column, stored: Column) -> Column:
    """1 right, 0 wrong, 2 the IPv4 header's is wrong, -1 cut, or left to the card: as `testbed.decode.transport`."""
    found = np.full(len(ip.row), -1, np.int64)
    rows = np.flatnonzero(ip.end <= captured_end)
    if len(rows):
        length = ip.end[rows] - ip.start[rows]
        pseudo = ip.sum[rows] + Protocol.TCP + length
        right = (add_words(records.data, ip.start[rows], ip.end[rows]) + pseudo) % MODULUS == 0
        left = _is_partial(stored[rows], pseudo) | _is_partial(stored[rows], pseudo - length)
        found[rows] = np.where(right, 1, np.where(left, -1, 0))
    found[~ip.sound] = 2
    return found


def _is_partial(stored: Column, pseudo_header: Column) -> Mask:
    rest = pseudo_header % MODULUS
    partial: Mask = stored == np.where(rest == 0, MODULUS, rest)
    return partial
