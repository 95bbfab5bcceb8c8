"""The netem lane: a stock Debian kernel in a small virtual machine, where `sch_netem` and `ifb` are tried for real.

Many kernels lack netem. Here the same tests run on any machine with qemu, in software if need be:

    host                                               guest
    disk.py     makes root disk and kernel, once  -->  /dev/nvme0n1   (what the guest writes to it is thrown away)
    freight.py  packs the checkout and the job    -->  /dev/nvme0n2   a bare tar
    machine.py  boots, shows the console, limits       stub.sh, then inside.py: runs each row
    freight.py  unpacks results/vm/...            <--  /dev/nvme0n3   a bare tar
    rows.py     says what must have come out

The machine has no network device. `python -m tests.vm --help` has the command; docs/vm-lane.md the rest.
"""
