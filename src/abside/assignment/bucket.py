"""The bucket: one of 10,000 places a unit falls into, the same on every pod and in every language (`algo: 1`).

    key = ASCII(salt) '|' ASCII(purpose) '|' UTF-8(unit id);   bucket = (murmur3_x86_32(key, seed 0) * 10000) >> 32

Byte-exact and never edited: a change is `algo: 2`. Multiply-shift and not `%`: buckets nest, so that a finer
resolution later moves nobody.
"""

from __future__ import annotations

from typing import Literal

import mmh3

from abside.snapshot import BASIS_POINTS

murmur3_x86_32 = mmh3.mmh3_32_uintdigest  # (bytes, seed) → 0 … 2^32-1

Purpose = Literal["layer", "traffic", "variant"]  # "holdout" is reserved


def bucket(salt: str, purpose: Purpose, unit_id: str) -> int:
    """Return the bucket, 0 … 9999, of a unit. The salt is an experiment's `salt`, or a layer's id."""
    return bucket_of(prefix(salt, purpose), unit_id.encode())


def prefix(salt: str, purpose: Purpose) -> bytes:
    """Return the part of the key that is the same for every unit, to be made once."""
    return f"{salt}|{purpose}|".encode("ascii")


def floor_of(bucket: int) -> int:
    """Return the smallest hash whose bucket is `bucket` or above; 2^32 for 10,000.

    So that a range is compared with the hash itself: (h * 10000) >> 32 >= b exactly where h >= ceil(b * 2^32 / 10000).
    """
    return -(-(bucket << 32) // BASIS_POINTS)


def bucket_of(prefix: bytes, unit_id_utf8: bytes) -> int:
    """Return the bucket, 0 … 9999, from a prepared prefix. Bytes only: mmh3 5.x crashes on a str with a surrogate."""
    return (murmur3_x86_32(prefix + unit_id_utf8, 0) * BASIS_POINTS) >> 32
