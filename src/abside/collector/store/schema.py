"""The one schema of every file in a store."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

_TIME = pa.timestamp("us", "UTC")
# Every file has exactly these columns: never inferred, so that a quiet hour and a busy one read alike.
SCHEMA: Final = pa.schema(
    [
        ("event_id", pa.string()),
        ("type", pa.string()),
        ("ts", _TIME),
        ("seen_ts", _TIME),  # the sidecar's clock
        ("recv_ts", _TIME),  # the collector's clock
        ("user_id", pa.string()),
        ("session_id", pa.string()),
        ("user_bucket", pa.int16()),  # crc32 of the UTF-8 id mod 1024, null without one: shards and jackknife
        ("session_bucket", pa.int16()),
        ("bot", pa.bool_()),
        ("exposure_id", pa.string()),
        ("placement", pa.string()),
        ("revision", pa.string()),
        ("config_id", pa.string()),
        ("algo", pa.int16()),
        ("experiment", pa.string()),  # this and the six below: one assignment of an exposure, a row each
        ("phase", pa.int32()),
        ("variant", pa.string()),
        ("unit_type", pa.string()),
        ("unit_id", pa.string()),
        ("forced", pa.bool_()),
        ("traffic_bp", pa.int32()),
        ("attributes", pa.string()),  # JSON
        ("items", pa.list_(pa.field("element", pa.string()))),  # Parquet's own name of a list's member
        ("item_id", pa.string()),
        ("position", pa.int32()),
        ("quantity", pa.int32()),
        ("value", pa.decimal128(18, 4)),
        ("currency", pa.string()),
        ("order_id", pa.string()),
        ("page_type", pa.string()),
        ("page_load_ms", pa.float64()),
        ("properties", pa.string()),  # JSON
        ("detail", pa.string()),  # JSON of every field that has no column
        ("batch_id", pa.string()),
    ]
)
