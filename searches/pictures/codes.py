"""Builds colour profiles from the code points by which a PNG (`cICP`) names its primaries and its curve.

The numbers are those of ITU-T H.273. PQ and HLG are left out, because their light exceeds any screen's: such a picture is shown
by its other colour facts, as by programs that do not know the codes.
"""

from __future__ import annotations

import struct

# Red, green and blue in XYZ for a white of D65, adapted to D50 as ICC asks.
PRIMARIES = {
    1: ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)),
    9: ((0.67346, 0.27903, -0.00193), (0.16566, 0.67534, 0.02998), (0.12510, 0.04563, 0.79716)),
    12: ((0.51510, 0.24118, -0.00105), (0.29197, 0.69224, 0.04188), (0.15715, 0.06658, 0.78438)),
}
# ICC's parameters g, a, b, c, d: (a x + b) to the power of g from x = d on, c x below.
CAMERA = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
CURVES = {
    1: CAMERA,
    4: (2.2, 1.0, 0.0, 0.0, 0.0),
    5: (2.8, 1.0, 0.0, 0.0, 0.0),
    6: CAMERA,
    8: (1.0, 1.0, 0.0, 0.0, 0.0),
    13: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    14: CAMERA,
    15: CAMERA,
}
# No matrix, as a PNG requires, and the full range of values.
PLAIN = b"\0\1"
WHITE = (0.9642, 1.0, 0.8249)
HEADER_BYTES, ENTRY_BYTES = 128, 12


def profile(codes: bytes) -> bytes:
    """Returns the profile for four code points; empty for codes that are not known."""
    if len(codes) != 4 or codes[0] not in PRIMARIES or codes[1] not in CURVES or codes[2:] != PLAIN:
        return b""
    tags = {b"wtpt": _place(WHITE)}
    curve = b"para" + bytes(4) + b"\0\3\0\0" + _numbers(CURVES[codes[1]])
    for name, place in zip((b"r", b"g", b"b"), PRIMARIES[codes[0]], strict=True):
        tags |= {name + b"XYZ": _place(place), name + b"TRC": curve}
    return _of_tags(tags)


def _of_tags(tags: dict[bytes, bytes]) -> bytes:
    data, table = b"", struct.pack(">I", len(tags))
    start = HEADER_BYTES + len(table) + ENTRY_BYTES * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(data), len(tag))
        data += tag
    header = struct.pack(">I4sI12s12x4s28x", start + len(data), b"none", 0x04000000, b"mntrRGB XYZ ", b"acsp")
    return (header + _numbers(WHITE)).ljust(HEADER_BYTES, b"\0") + table + data


def _place(place: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + _numbers(place)


def _numbers(numbers: tuple[float, ...]) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65_536) for number in numbers))
