"""Decoding: frames in, packets out. Pure; follows the specifications of the link types, RFC 791, 8200, 9293, 768, 792.

A frame that is not an IP packet with TCP, UDP or ICMP in it, or whose headers cannot be read, is skipped with a reason
in words; it is never an error.
"""

from testbed.decode.flags import format_flags
from testbed.decode.frames import Decoded, Decoder, decode, decode_frame

__all__ = ["Decoded", "Decoder", "decode", "decode_frame", "format_flags"]
