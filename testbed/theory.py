"""When a handshake completes over a wire that loses packets by chance, as Linux has its timers (RFC 9293, RFC 6298).

The client sends its SYN again after 1, 2, 4 ... s (since 6.5 also `tcp_syn_linear_timeouts` times after 1 s before).
The server answers each SYN that comes, and sends its SYN-ACK again after 1, 2, 4 ... s of hearing nothing; a SYN that
comes again starts that timer anew. The handshake is complete when the first SYN-ACK has come. Where only SYNs are lost,
with a chance of p, that is the geometric mix (1-p) p^n of the steps 0, 1, 3, 7 ... s. Where both timers of the two ends
are due at once, the SYN is taken as the earlier: on Linux that is a race.

Each course of events is followed with its probability until it completes or is too unlikely to matter.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_TIMEOUT_MS = 1000.0  # TCP_TIMEOUT_INIT
UNLIKELY = 1e-4
SAME_MS = 0.5  # arrivals so near to each other are one step


@dataclass(frozen=True, slots=True)
class Path:
    """What lies between the two ends, and how often they try."""

    there_ms: float = 0.0
    back_ms: float = 0.0
    loss_there: float = 0.0  # 0 to 1
    loss_back: float = 0.0
    syn_retries: int = 6
    linear_timeouts: int = 0
    synack_retries: int = 5


@dataclass(frozen=True, slots=True)
class Opening:
    """When the handshake completes: each step, in ms from the first SYN on, with its share of all handshakes."""

    steps: tuple[tuple[float, float], ...]

    @property
    def completes(self) -> float:
        """The share of handshakes that complete, as far as it was followed."""
        return sum(share for _, share in self.steps)

    @property
    def mean_ms(self) -> float:
        """The mean of those that complete."""
        return sum(at_ms * share for at_ms, share in self.steps) / self.completes if self.steps else 0.0


@dataclass(frozen=True, slots=True)
class _Course:
    """A course of events up to now; the server's timer is due at `due_ms`, None while it has heard nothing."""

    share: float
    syns: tuple[float, ...]  # still to be sent
    due_ms: float | None = None
    retries: int = 0


def syn_times_ms(path: Path) -> tuple[float, ...]:
    """When the client sends its SYN.

    With linear timeouts it gives up no later than without (`tcp_write_timeout` looks at the time too): measured on
    6.18, retries of 1, 2 and 3 and 4 linear timeouts give 2, 5 and 7 SYNs more.
    """
    times, timeout = [0.0], FIRST_TIMEOUT_MS
    given_up_ms = FIRST_TIMEOUT_MS * (2 ** (path.syn_retries + 1) - 1)
    for number in range(path.syn_retries + path.linear_timeouts):
        if times[-1] + timeout >= given_up_ms:
            break
        times.append(times[-1] + timeout)
        timeout *= 1 if number < path.linear_timeouts else 2
    return tuple(times)


def opening(path: Path) -> Opening:
    """The steps at which a handshake over this path completes."""
    found: dict[float, float] = {}
    ahead = [_Course(1.0, syn_times_ms(path))]
    while ahead:
        course = ahead.pop()
        if course.share >= UNLIKELY:
            ahead += _next(course, path, found)
    return Opening(_together(found))


def _next(course: _Course, path: Path, found: dict[float, float]) -> list[_Course]:
    """The courses that follow; what completes is added to `found`."""
    arrives_ms = course.syns[0] + path.there_ms if course.syns else None
    timer = course.due_ms is not None and course.retries < path.synack_retries
    if timer and course.due_ms is not None and (arrives_ms is None or course.due_ms < arrives_ms):
        timeout = FIRST_TIMEOUT_MS * 2 ** (course.retries + 1)
        after = _Course(course.share, course.syns, course.due_ms + timeout, course.retries + 1)
        return _answer(after, course.due_ms, path, found)
    if arrives_ms is None:
        return []
    rest = course.syns[1:]
    lost = _Course(course.share * path.loss_there, rest, course.due_ms, course.retries)
    timeout = FIRST_TIMEOUT_MS * 2**course.retries
    came = _Course(course.share * (1 - path.loss_there), rest, arrives_ms + timeout, course.retries)
    return [lost, *_answer(came, arrives_ms, path, found)]


def _answer(course: _Course, sent_ms: float, path: Path, found: dict[float, float]) -> list[_Course]:
    """A SYN-ACK goes back: it completes the handshake, or is lost too."""
    at_ms = round(sent_ms + path.back_ms, 3)
    # What the client sends before the answer is there does not matter any more; the answer was on its way.
    found[at_ms] = found.get(at_ms, 0.0) + course.share * (1 - path.loss_back)
    return [_Course(course.share * path.loss_back, course.syns, course.due_ms, course.retries)]


def _together(found: dict[float, float]) -> tuple[tuple[float, float], ...]:
    steps: list[tuple[float, float]] = []
    for at_ms, share in sorted(found.items()):
        if share <= 0:
            continue
        if steps and at_ms - steps[-1][0] < SAME_MS:
            steps[-1] = (steps[-1][0], steps[-1][1] + share)
        else:
            steps.append((at_ms, share))
    return tuple(steps)
