"""One boot of the machine: qemu with three or four disks, a serial console and nothing else.

The disks are namespaces of one NVMe controller, since Debian's cloud kernel has NVMe and ext4 built in: no initrd is
needed, and their order is certain. What the guest writes to its root disk goes to a temporary file and is gone after.
KVM is used where a guest really comes up on it. Some nested machines offer /dev/kvm and then hang: a guest that has
said nothing after some seconds is given up, software emulation takes over, and a note in the cache spares the next boot
the wait.
"""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import LabError

QEMU = "qemu-system-x86_64"
REMEDY = "on Debian: apt-get install qemu-system-x86"
ACCELERATORS = {
    "kvm": ("-accel", "kvm", "-cpu", "host,arch-capabilities=off"),
    "tcg": ("-accel", "tcg,thread=multi", "-cpu", "max,-cx16"),
}
GREETING = b"vm: kernel"
GREETING_WITHIN_S = {"kvm": 15.0, "tcg": 180.0}
KERNEL_WORDS = "console=ttyS0 quiet root=/dev/nvme0n1 rw init=/vm-stub panic=-1 mitigations=off random.trust_cpu=on"
ENDS_WITHIN_S = 10.0

Show = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Disk:
    """A file as a disk; `kept` where what the guest writes shall stay."""

    path: Path
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Boot:
    """How a boot went: which accelerator, whether the guest powered off by itself, how long."""

    accelerator: str
    powered_off: bool
    seconds: float


def qemu_command(accelerator: str, kernel: Path, disks: Sequence[Disk]) -> list[str]:
    """The command of a machine."""
    command = [QEMU, *ACCELERATORS[accelerator], "-smp", "2", "-m", "2048"]
    command += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none", "-serial", "stdio"]
    command += ["-kernel", str(kernel), "-append", KERNEL_WORDS, "-device", "nvme,id=nvme0,serial=vm"]
    for number, disk in enumerate(disks, start=1):
        snapshot = "off" if disk.kept else "on"
        command += ["-drive", f"if=none,id=disk{number},file={disk.path},format=raw,snapshot={snapshot},cache=unsafe"]
        command += ["-device", f"nvme-ns,drive=disk{number},nsid={number}"]
    return command


def require_qemu() -> None:
    """Raises LabError where qemu is missing: before a disk is made for it."""
    if shutil.which(QEMU) is None:
        raise LabError(f"{QEMU} is not installed: nothing was run", remedy=REMEDY)


def boot(kernel: Path, disks: Sequence[Disk], limit_s: float, show: Show, kvm_hangs: Path) -> Boot:
    """Boot, show the console as it comes, until the guest powers off or the limit is over.

    `kvm_hangs` is the note that KVM was tried here in vain. Raises LabError where no guest comes up.
    """
    try_kvm = os.access("/dev/kvm", os.R_OK | os.W_OK) and not kvm_hangs.exists()
    for accelerator in ("kvm", "tcg") if try_kvm else ("tcg",):
        started = time.monotonic()
        greeted, powered_off = _one_boot(accelerator, qemu_command(accelerator, kernel, disks), limit_s, show)
        if greeted:
            return Boot(accelerator, powered_off, time.monotonic() - started)
        show(f"vm: no guest came up with {accelerator} within {GREETING_WITHIN_S[accelerator]:g} s\n".encode())
        if accelerator == "kvm":
            kvm_hangs.touch()
    raise LabError("the machine does not boot", remedy="its console is above; is there memory for 2 GB more?")


def _one_boot(accelerator: str, command: Sequence[str], limit_s: float, show: Show) -> tuple[bool, bool]:
    """Whether the guest greeted, and whether it ended by itself."""
    started = time.monotonic()
    deadline = started + GREETING_WITHIN_S[accelerator]
    greeted, line = False, b""
    qemu = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert qemu.stdout is not None
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(qemu.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                piece = os.read(qemu.stdout.fileno(), 65536)
                if not piece:
                    return greeted, qemu.wait(ENDS_WITHIN_S) == 0
                show(piece.replace(b"\r", b""))
                line = b"" if greeted else line + piece
                if not greeted and GREETING in line:
                    greeted, deadline = True, started + limit_s
        return greeted, False
    finally:
        if qemu.poll() is None:
            qemu.kill()
        qemu.wait()
        qemu.stdout.close()
