"""The event: one msgpack map per thing that happened, checked at the door, never inferred later."""

from abside.event.caller import TYPE_NAME, from_caller
from abside.event.fields import COMMON_FIELDS, CUSTOM_FIELDS, FIELDS
from abside.event.meant import also_meant, meant_field, snake_case
from abside.event.own import Exposed, assignment, exposure, own, source_of, within_bound
from abside.event.record import (
    MAX_ASSIGNMENTS,
    MAX_COUNT,
    MAX_EVENT_BYTES,
    MAX_EVENTS_A_REQUEST,
    MAX_ITEMS,
    MAX_PROPERTIES,
    MAX_TEXT_BYTES,
    MAX_VALUE,
    OWN_TYPES,
    ErrorCode,
    EventError,
    EventIds,
    EventMap,
    decode,
    encode,
)
from abside.event.shape import EXPOSURE_SHAPE, carried, wrong_field
from abside.event.timestamp import MAX_AGE_US, MAX_AHEAD_US

__all__ = [
    "COMMON_FIELDS",
    "CUSTOM_FIELDS",
    "EXPOSURE_SHAPE",
    "FIELDS",
    "MAX_AGE_US",
    "MAX_AHEAD_US",
    "MAX_ASSIGNMENTS",
    "MAX_COUNT",
    "MAX_EVENTS_A_REQUEST",
    "MAX_EVENT_BYTES",
    "MAX_ITEMS",
    "MAX_PROPERTIES",
    "MAX_TEXT_BYTES",
    "MAX_VALUE",
    "OWN_TYPES",
    "TYPE_NAME",
    "ErrorCode",
    "EventError",
    "EventIds",
    "EventMap",
    "Exposed",
    "also_meant",
    "assignment",
    "carried",
    "decode",
    "encode",
    "exposure",
    "from_caller",
    "meant_field",
    "own",
    "snake_case",
    "source_of",
    "within_bound",
    "wrong_field",
]
