from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from abside.assignment.bucket import bucket, bucket_of, floor_of, murmur3_x86_32, prefix
from abside.snapshot import ALGO

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "assignment-1.json").read_text())


def test_the_vectors_are_those_of_the_algorithm_that_snapshots_name() -> None:
    assert VECTORS["algo"] == ALGO
    assert len(VECTORS["buckets"]) == 24


@pytest.mark.parametrize("row", VECTORS["buckets"], ids=lambda row: f"{row['salt']}|{row['purpose']}|{row['unit']:.20}")
def test_every_vector_has_its_hash_and_its_bucket(row: dict[str, Any]) -> None:
    unit_id_utf8 = bytes.fromhex(row["unit_utf8_hex"])

    assert row["unit"].encode() == unit_id_utf8
    assert murmur3_x86_32(prefix(row["salt"], row["purpose"]) + unit_id_utf8, 0) == int(row["hash"], 16)
    assert bucket_of(prefix(row["salt"], row["purpose"]), unit_id_utf8) == row["bucket"]
    assert bucket(row["salt"], row["purpose"], row["unit"]) == row["bucket"]


def test_a_range_compared_with_the_hash_holds_the_same_units_as_with_the_bucket() -> None:
    for edge in range(10_001):
        floor = floor_of(edge)
        assert ((floor - 1) * 10_000) >> 32 < edge  # the last hash below
        assert (floor * 10_000) >> 32 == edge  # the first one in it


def test_the_hash_is_murmur3_x86_32_by_smhashers_own_verification() -> None:
    # SMHasher, KeysetTest.cpp, VerificationTest: hash {0}, {0,1}, … with seed 256 - i, then hash the hashes.
    hashes = b"".join(murmur3_x86_32(bytes(range(i)), 256 - i).to_bytes(4, "little") for i in range(256))

    assert f"{murmur3_x86_32(hashes, 0):08x}" == VECTORS["murmur3_x86_32_smhasher_verification"]


def test_a_salt_that_is_not_ascii_is_refused_instead_of_hashed() -> None:
    with pytest.raises(UnicodeEncodeError):
        prefix("café", "variant")


def test_an_80_20_split_of_100000_units_stays_within_three_and_a_half_sigma_over_50_salts() -> None:
    units = [f"user-{number:07}".encode() for number in range(100_000)]
    sigma = math.sqrt(len(units) * 0.8 * 0.2)
    in_control = {}
    for salt in range(50):
        key = prefix(f"experiment-{salt}", "variant")
        in_control[salt] = sum(bucket_of(key, unit) < 8000 for unit in units)

    worst = max(abs(count - 80_000) / sigma for count in in_control.values())
    assert worst <= 3.5, in_control


def test_traffic_and_variant_and_layer_buckets_of_one_salt_are_independent() -> None:
    units = [str(number) for number in range(20_000)]
    sigma = math.sqrt(len(units) * 0.25 * 0.75)
    for one, other in (("traffic", "variant"), ("layer", "traffic"), ("layer", "variant")):
        both = sum(bucket("salt", one, unit) < 5000 and bucket("salt", other, unit) < 5000 for unit in units)  # type: ignore[arg-type]
        assert abs(both - 5000) <= 3.5 * sigma
