from __future__ import annotations

import hashlib
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside import snapshot
from abside.snapshot import (
    HEADER,
    MAGIC,
    Attribute,
    Experiment,
    Layer,
    Placement,
    Problem,
    Snapshot,
    SnapshotError,
    SnapshotHead,
    Step,
    Variant,
    assemble,
    decode,
    encode,
)

if TYPE_CHECKING:
    import random

    from abside.snapshot import Record

NOW_US = 1_795_424_400_000_000
PDP = Placement("pdp", {"model": "ranker-v1", "item_count": 12}, "a.yaml")
RERANKER = Experiment(
    id="pdp-reranker",
    name="PDP re-ranker v2",
    hypothesis="More carts",
    status="running",
    placements=("pdp",),
    variants=(Variant("control", 0, 8000), Variant("treatment", 8000, 10_000, {"pdp": {"model": "ranker-v2"}})),
    control="control",
    layer="ranking",
    slots=(0, 5000),
    source="b.yaml",
)
RECORDS: tuple[Record, ...] = (PDP, Layer("ranking", "a.yaml"), RERANKER)
ATTRIBUTES = {"country": Attribute("string", log=True, source="a.yaml"), "tier": Attribute("string")}

names = st.text("abcdefghij-._0123456789", min_size=1, max_size=6)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
parameters = st.dictionaries(names, json_values, max_size=3)
variants = st.builds(
    Variant, names, st.integers(0, 10_000), st.integers(0, 10_000), st.dictionaries(names, parameters, max_size=2)
)
experiments = st.builds(
    Experiment,
    id=names,
    name=st.text(max_size=10),
    hypothesis=st.text(max_size=10),
    status=st.sampled_from(["draft", "running", "paused", "ended"]),
    placements=st.lists(names, max_size=3).map(tuple),
    variants=st.lists(variants, max_size=3).map(tuple),
    control=names,
    unit=st.sampled_from(["user_or_session", "user", "session"]),
    layer=st.none() | names,
    slots=st.none() | st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)),
    steps=st.lists(st.builds(Step, st.integers(0, 2**53), st.integers(0, 10_000)), max_size=3).map(tuple),
    start_us=st.none() | st.integers(0, 2**53),
    end_us=st.none() | st.integers(0, 2**53),
    eligibility=st.lists(json_values, max_size=2).map(tuple),
    force=st.dictionaries(st.text(max_size=5), names, max_size=2),
    phase=st.integers(1, 99),
    analysis=parameters,
    pause=st.none() | st.text(max_size=5),
    source=names,
)
records = st.lists(
    experiments | st.builds(Placement, names, parameters, names) | st.builds(Layer, names, names),
    max_size=6,
    unique_by=lambda record: (type(record), record.id),
)
attributes = st.dictionaries(
    names,
    st.builds(
        Attribute, st.sampled_from(["string", "number", "boolean", "version", "date", "list"]), st.booleans(), names
    ),
    max_size=3,
)
problems = st.lists(
    st.builds(
        Problem,
        st.sampled_from(["error", "warning"]),
        *(names, names),
        *(st.integers(0, 9), st.integers(0, 9)),
        *(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5)),
    ),
    max_size=2,
).map(tuple)

pauses = st.none() | st.dictionaries(names, st.dictionaries(names, st.text(max_size=5), max_size=2), max_size=2)


def made(*given_records: Record, **head: Any) -> Snapshot:
    return assemble(ATTRIBUTES, given_records or RECORDS, **{"written_at_us": NOW_US, **head})


def maps_of(one: Snapshot) -> list[dict[str, Any]]:
    return list(msgpack.Unpacker(BytesIO(encode(one)[HEADER.size :])))


def sealed(*maps: Any, magic: bytes = MAGIC, form: int = snapshot.FORMAT) -> bytes:
    """Return a file whose digest is right, whatever its body holds."""
    body = b"".join(one if isinstance(one, bytes) else msgpack.packb(one) for one in maps)
    return HEADER.pack(magic, form, len(body), hashlib.sha256(body).digest()) + body


@settings(deadline=None, max_examples=cases(75))
@given(attributes, records, problems, st.booleans(), st.dictionaries(names, names, max_size=2), pauses)
def test_what_is_encoded_is_decoded_the_same(
    declared: dict[str, Attribute],
    some: list[Record],
    found: tuple[Problem, ...],
    held: bool,
    retired: dict[str, str],
    paused: dict[str, dict[str, str]] | None,
) -> None:
    said: dict[str, Any] = {"retired": retired, "degraded": held, "problems": found, "pauses": paused}
    one = assemble(declared, some, written_at_us=NOW_US, **said)
    data = encode(one)
    assert decode(data) == one
    head, *entries = snapshot.read(data)
    assert head == ("", one.head)
    assert entries == [(snapshot.digest_of(record), record) for record in one.records()]
    assert snapshot.file_digest(data) == hashlib.sha256(data[HEADER.size :]).digest()


@settings(deadline=None, max_examples=100)
@given(attributes, records, st.randoms(use_true_random=False))
def test_the_revision_does_not_depend_on_the_order_of_files_records_and_keys(
    declared: dict[str, Attribute], some: list[Record], chance: random.Random
) -> None:
    def shuffled(mapping: dict[str, Any]) -> dict[str, Any]:
        return dict(chance.sample(list(mapping.items()), len(mapping)))

    def turned(record: Record) -> Record:
        match record:
            case Placement():
                return replace(record, parameters=shuffled(record.parameters))
            case Experiment():
                return replace(record, force=shuffled(record.force), analysis=shuffled(record.analysis))
        return record

    one = assemble(declared, some, written_at_us=NOW_US)
    again = [turned(record) for record in chance.sample(some, len(some))]
    other = assemble(shuffled(declared), again, written_at_us=NOW_US)
    assert other.head.revision == one.head.revision
    assert list(other.experiments) == list(one.experiments) == sorted(one.experiments)
    assert encode(assemble(declared, chance.sample(some, len(some)), written_at_us=NOW_US)) == encode(one)


def test_the_revision_is_twelve_hex_characters_and_this_one_for_ever() -> None:
    # Golden: a change here is a change of the contract, and every cache key and event of the field changes with it.
    assert made().head.revision == "c865ab2772ec"
    canonical = '{"item_count":12,"model":"ranker-v2"}'
    reference = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    assert snapshot.config_id({"model": "ranker-v2", "item_count": 12}) == reference
    assert snapshot.config_id({"item_count": 12, "model": "ranker-v2"}) == reference


def test_times_file_names_problems_and_retired_ids_are_not_part_of_the_revision() -> None:
    problem = Problem(
        "error", "WEIGHTS", "a.yaml", 3, 5, "experiments.x", "99 %", "weights sum to 99 %", "make it 100 %"
    )
    same = [
        made(written_at_us=NOW_US + 1),
        made(degraded=True, problems=(problem,)),
        made(retired={"old": "a.yaml"}),
        made(pauses={"paused": {"all": "night"}}),
        made(*(replace(record, source="other.yaml") for record in RECORDS)),
        assemble({name: replace(one, source="x") for name, one in ATTRIBUTES.items()}, RECORDS, written_at_us=NOW_US),
    ]
    assert {one.head.revision for one in same} == {made().head.revision}


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "Other"},
        {"hypothesis": "Other"},
        {"owner": "other"},
        {"status": "paused"},
        {"placements": ("pdp", "home")},
        {"variants": (Variant("control", 0, 8001), Variant("treatment", 8001, 10_000))},
        {"variants": (*RERANKER.variants[:1], Variant("treatment", 8000, 10_000, {"pdp": {"model": "ranker-v3"}}))},
        {"control": "treatment"},
        {"unit": "user"},
        {"layer": None},
        {"slots": (0, 5001)},
        {"steps": (Step(0, 2000),)},
        {"start_us": 1},
        {"end_us": 1},
        {"eligibility": ({"attribute": "country", "op": "exists", "type": "string"},)},
        {"force": {"qa": "treatment"}},
        {"phase": 2},
        {"analysis": {"window": "7d"}},
        {"pause": "carts broken"},
    ],
)
def test_whatever_else_changes_in_an_experiment_changes_the_revision(changed: dict[str, Any]) -> None:
    assert made(PDP, replace(RERANKER, **changed)).head.revision != made(PDP, RERANKER).head.revision


def test_one_and_one_point_zero_and_true_are_three_revisions() -> None:
    values: list[Any] = [1, 1.0, True, "1"]
    assert len({made(Placement("pdp", {"boost": value})).head.revision for value in values}) == 4


def test_a_declared_attribute_changes_the_revision_and_so_does_its_log_flag() -> None:
    declared = [{"a": Attribute("string")}, {"a": Attribute("string", log=True)}, {"a": Attribute("number")}, {}]
    assert len({assemble(one, RECORDS, written_at_us=0).head.revision for one in declared}) == 4


def test_a_pause_can_be_taken_off_again() -> None:
    paused = replace(RERANKER, pause="carts broken")
    assert snapshot.unpaused(paused) == RERANKER


def test_the_salt_is_the_id_and_the_phase_from_the_second_on() -> None:
    assert (RERANKER.salt, replace(RERANKER, phase=3).salt) == ("pdp-reranker", "pdp-reranker#3")


def test_a_problem_reads_as_one_line() -> None:
    whole = Problem("error", "WEIGHTS", "a.yaml", 3, 5, "experiments.x", "99 %", "weights sum to 99 %", "make it 100 %")
    bare = Problem("warning", "EMPTY", "a.yaml", 0, 0, "", "", "the file is empty", "")
    assert str(whole) == "a.yaml:3:5: error: experiments.x: weights sum to 99 % (got 99 %) — make it 100 % [WEIGHTS]"
    assert str(bare) == "a.yaml: warning: the file is empty [EMPTY]"


def test_a_file_cut_at_any_length_is_short_and_never_a_part() -> None:
    data = encode(made())
    for length in range(len(data)):
        with pytest.raises(SnapshotError) as refused:
            decode(data[:length])
        assert refused.value.reason == "short"


def test_a_file_with_any_bit_flipped_is_refused() -> None:
    data = encode(made())
    reasons = set()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        with pytest.raises(SnapshotError) as refused:
            decode(bytes(flipped))
        reasons.add(refused.value.reason)
    assert reasons == {"foreign", "format", "short", "digest"}


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (b"", "short", "0 bytes; the header alone is 52"),
        (b"placements:\n  pdp: {}\n" * 9, "foreign", "not a snapshot file"),
        (sealed({}, form=3), "format", "format 3, this reader knows 1, 2: upgrade the sidecar first"),
        (sealed({}, form=0), "format", "format 0"),
        (sealed({}) + b"x", "short", "the header announces 1 bytes, the file has 2"),
        (sealed({})[:-1] + b"\x90", "digest", "does not match the sha256"),
        (sealed(), "content", "shape"),
        (sealed({}), "content", "revision"),
        (sealed([1, 2]), "content", "shape"),
        (sealed(b"\xc1"), "content", "shape"),
        (sealed(maps_of(made())[0], {**maps_of(made())[1], "parameters": {"model": b"bytes"}}), "content", "bin_len"),
        (sealed(b"\x91" * 3000), "content", "shape"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(data: bytes, reason: str, words: str) -> None:
    with pytest.raises(SnapshotError, match=words) as refused:
        decode(data)
    assert refused.value.reason == reason
    assert str(refused.value).startswith(f"snapshot refused ({reason}): ")


@settings(deadline=None, max_examples=cases(100))
@given(st.data())
def test_content_of_another_shape_is_one_refusal_or_still_readable(data: st.DataObject) -> None:
    maps = maps_of(made())
    chosen = data.draw(st.sampled_from(maps))
    name = data.draw(st.sampled_from(sorted(chosen)))
    if data.draw(st.booleans()):
        del chosen[name]
    else:
        chosen[name] = data.draw(json_values)
    try:
        assert isinstance(decode(sealed(*maps)), Snapshot)
    except SnapshotError as refused:
        assert refused.reason == "content"  # noqa: PT017 either outcome is right, the wrong error is not


@pytest.mark.parametrize("form", [1, 2])
def test_the_format_before_this_one_is_read_too(form: int) -> None:
    assert decode(sealed(*maps_of(made()), form=form)) == made()


def test_a_reader_may_pause_between_two_records() -> None:
    reading = snapshot.read(encode(made()))
    assert isinstance(next(reading)[1], SnapshotHead)
    assert next(reading)[1] == PDP
    assert [type(record) for _, record in reading] == [Layer, Experiment]


def test_what_a_newer_agent_adds_to_a_record_does_not_disturb() -> None:
    maps = maps_of(made())
    for one in maps:
        one["added_later"] = 1
    assert decode(sealed(*maps)) == made()


def test_a_file_from_before_it_said_where_pauses_come_from_is_read() -> None:
    head, *others = maps_of(made(pauses={"paused": {"all": "night"}}))
    del head["pauses"]
    assert decode(sealed(head, *others)) == made()
    assert made().head.pauses is None


@pytest.mark.parametrize("pauses", [[], {"paused": ["x"]}, {"paused": {"x": 1}}])
def test_pauses_of_another_shape_are_refused(pauses: Any) -> None:
    head, *others = maps_of(made())
    with pytest.raises(SnapshotError, match="shape"):
        decode(sealed({**head, "pauses": pauses}, *others))
