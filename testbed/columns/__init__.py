"""Whole blocks of packets at once: what is plain is read, decoded and followed in columns of numbers, with numpy.

Nothing here says what TCP means. What is plain (Ethernet or a like of it, IP without options, TCP; connections whose
segments follow one another in order) is recognized here and counted; what is not goes packet by packet through
`testbed.decode` and `testbed.tcp`, which give equal results for both, only later.
"""
