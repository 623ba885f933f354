"""The checksums of TFRecord files, CRC-32C of RFC 3720 with TensorFlow's mask, of many at once.

A CRC is linear over GF(2): that of two halves is that of the left one, carried over as many zero
bytes as the right one has, plus that of the right one. So bytes are dealt out to lanes, all lanes
take a step together, and neighbours are put together until one is left. Zeros in front change
nothing where the register begins at 0; that it begins at 0xffffffff, the first four bytes say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

POLYNOMIAL = 0x82F63B78  # reflected
MASK = 0xA282EAD8
LANE = 64  # bytes, an even number
TOGETHER_BYTES = 2**23  # that are looked at together


def masked(records: Sequence[bytes]) -> np.ndarray:
    """Returns the masked CRC-32C of each of some strings of at least 4 bytes, (n,), uint32."""
    if not records:
        return np.zeros(0, np.uint32)
    found = np.concatenate([_crc(some) for some in _parts(records)])
    return ((found >> 15) | (found << 17)) + np.uint32(MASK)


def _parts(records: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The strings, so many at a time that they have room when each is as long as the longest."""
    start, longest = 0, 0
    for place, data in enumerate(records):
        longest = max(longest, len(data))
        if place > start and (place + 1 - start) * longest > TOGETHER_BYTES:
            yield records[start:place]
            start, longest = place, len(data)
    yield records[start:]


def _crc(records: Sequence[bytes]) -> np.ndarray:
    """The CRC-32C of each, (n,), uint32."""
    lanes = -(-max(map(len, records)) // LANE)
    grid = np.zeros((len(records), lanes * LANE), np.uint8)
    for row, data in zip(grid, records, strict=True):
        start = len(row) - len(data)
        row[start:] = np.frombuffer(data, np.uint8)
        row[start : start + 4] ^= 0xFF
    pairs = np.ascontiguousarray(grid.reshape(-1, LANE).view("<u2").T)  # (LANE / 2, n * lanes)
    table = _tables()[1]
    lane = np.zeros(pairs.shape[1], np.uint32)
    for pair in pairs:
        lane = table[(lane ^ pair) & 0xFFFF] ^ (lane >> 16)
    state, rounds = lane.reshape(len(records), lanes), 0
    while state.shape[1] > 1:
        if state.shape[1] % 2:
            state = np.pad(state, ((0, 0), (1, 0)))
        state = _carried(state[:, 0::2], _over(rounds)) ^ state[:, 1::2]
        rounds += 1
    crc: np.ndarray = ~state[:, 0]
    return crc


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """What a byte (256,), and what two of them (65536,), make of an empty register."""
    one = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        one = np.where(one & 1, (one >> 1) ^ np.uint32(POLYNOMIAL), one >> 1)
    two = np.arange(65536, dtype=np.uint32)
    for _ in range(2):
        two = one[two & 0xFF] ^ (two >> 8)
    return one, two


@cache
def _over(rounds: int) -> np.ndarray:
    """What LANE * 2**rounds zero bytes make of a register, by the value of each byte, (4, 256)."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if rounds:
        half = _over(rounds - 1)
        bits = _carried(_carried(bits, half), half)
    else:
        for _ in range(LANE):
            bits = _tables()[0][bits & 0xFF] ^ (bits >> 8)
    table = np.zeros((4, 256), np.uint32)
    for bit, image in enumerate(bits):
        table[bit // 8, (np.arange(256) >> bit % 8) & 1 == 1] ^= image
    return table


def _carried(state: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Registers after so many zero bytes."""
    found: np.ndarray = table[0][state & 0xFF]
    for place in (1, 2, 3):
        found = found ^ table[place][(state >> 8 * place) & 0xFF]
    return found
