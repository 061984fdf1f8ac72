"""Hundreds of documents spoilt by a seeded generator: no traceback, no plan that fails, each problem in its place."""

from __future__ import annotations

import random
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from tests.cases import cases

from abside.assignment.plan import build_plans
from abside.snapshot import decode, encode
from abside_agent.admission.judge import judge
from abside_agent.commands import check as check_command
from abside_agent.commands import diff as diff_command
from abside_agent.commands import explain as explain_command
from abside_agent.commands import new as new_command
from abside_agent.commands import set as set_command
from abside_agent.commands import ship as ship_command
from abside_agent.commands import simulate as simulate_command
from abside_agent.commands.check import Findings, findings
from abside_agent.commands.shown import shown
from abside_agent.document.reading import File, Reading
from abside_agent.run.child.exchange import Order
from abside_agent.run.child.inside import answer
from abside_agent.settings import (
    CheckSettings,
    DiffSettings,
    ExplainSettings,
    NewSettings,
    SetSettings,
    ShipSettings,
    SimulateSettings,
)
from abside_agent.settle.settle import settle
from abside_agent.sources.given import given

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside_agent.sources.given import Given

SAMPLES = Path(__file__).parents[3] / "k8s" / "experiments" / "config"
NOW_US = 1_795_000_000_000_000
LONGEST_SECONDS = 30.0  # of one document, on any machine: the measured ones take below a second
MOST_MEMORY = 512 * 2**20  # address space of a process that checks the worst of them, imports and all

ODD = ["ключ", "🙂", "a\u0301", "\u202e", "\x00", "\ufeff", "\u2028", "\x85", "\U0010ffff", "ﬀ"]
WRONG = ["true", "null", "-1", "1e400", "[]", "{}", "[[1]]", "0x1F", "1:30", "99999999999999999999", "'", '"', "~", "|"]


LATIN, LIKE_LATIN = "aeopcABCEHKMOPTX", "аеорсАВСЕНКМОРТХ"  # noqa: RUF001 Cyrillic, on purpose
SIGNS, LIKE_SIGNS = ":,%-'[]{}#\"", "\uff1a\uff0c\uff05\u2013\u2019\uff3b\uff3d\uff5b\uff5d\uff03\u201c"
LOOK_ALIKE = dict(zip(LATIN + SIGNS, LIKE_LATIN + LIKE_SIGNS, strict=True))
LIKE_A_BLANK = "\xa0\u2003\u202f\u3000\u200b\ufeff\u2028\x85\u2060\xad"


def lines_of(text: str) -> list[str]:
    return text.split("\n")


def without_a_key(text: str, rng: random.Random) -> str:
    lines = lines_of(text)
    del lines[rng.randrange(len(lines))]
    return "\n".join(lines)


def with_a_wrong_type(text: str, rng: random.Random) -> str:
    found = [*re.finditer(r": +(?!\{|\[)[^\n,}#]+", text)]
    one = rng.choice(found)
    return f"{text[: one.start()]}: {rng.choice(WRONG)}{text[one.end() :]}"


def with_a_renamed_id(text: str, rng: random.Random) -> str:
    one = rng.choice([*re.finditer(r"[a-z_-]{3,}", text)])
    return text[: one.start()] + rng.choice(["x", one[0].upper(), one[0][:-1], "all", "-a"]) + text[one.end() :]


def with_odd_unicode(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(ODD) + text[at:]


def with_anchors(text: str, rng: random.Random) -> str:
    one = rng.choice([*re.finditer(r": ", text)])
    return (
        text[: one.end()]
        + rng.choice(["&a ", "*a ", "&a *a ", "!!str ", "!!python/object:os.system "])
        + text[one.end() :]
    )


def with_a_billion_laughs(text: str, rng: random.Random) -> str:
    depth = rng.randrange(2, 12)
    lol = "l0: &l0 [lol]\n" + "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, depth))
    return rng.choice([lol + text, text + "\n" + lol])


def with_a_tab(text: str, rng: random.Random) -> str:
    one = rng.choice([*re.finditer(r"^ +| ", text, re.MULTILINE)])
    return text[: one.start()] + "\t" + text[one.end() :]


def with_crlf(text: str, rng: random.Random) -> str:
    return with_a_wrong_type(text, rng).replace("\n", rng.choice(["\r\n", "\r"]))


def with_a_mark(text: str, rng: random.Random) -> str:
    return "\ufeff" + rng.choice([with_a_wrong_type, without_a_key, with_a_renamed_id])(text, rng)


def with_moved_lines(text: str, rng: random.Random) -> str:
    lines = lines_of(text)
    at = rng.randrange(len(lines))
    lines[at] = " " * rng.randrange(9) + lines[at].lstrip()
    return "\n".join(lines)


def twice(text: str, rng: random.Random) -> str:
    lines = lines_of(text)
    at = rng.randrange(len(lines))
    return "\n".join([*lines[: at + 1], *lines[at - rng.randrange(3) :]])


def cut_short(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text))]


def nested(text: str, rng: random.Random) -> str:
    return text + "\nmetrics: " + rng.choice("[{") * rng.choice([31, 32, 33, 100, 20_000])


def with_bytes(text: str, rng: random.Random) -> bytes:
    at = rng.randrange(len(text))
    return text[:at].encode() + rng.randbytes(rng.randrange(1, 9)) + text[at:].encode()


def binary(_: str, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 100, 100_000]))


def large(text: str, rng: random.Random) -> str:
    filler = rng.choice(["# x\n", "  \n", "- [1]\n", "a: 1\n"])
    return text + "\n" + filler * (rng.choice([1_000_000, 5_242_880]) // len(filler))


def emptied(text: str, rng: random.Random) -> str:
    """Leave nothing behind a key or a dash, on its line or below it."""
    values = r"(?<=[:-]) +[^\n,}\]#]+|(?<=: )[{\[][^\n]*|(?<=[{\[, ])[a-z_0-9%.-]+(?=[,}\]])"
    one = rng.choice([*re.finditer(values, text)])
    return text[: one.start()] + rng.choice(["", "", " ", " ~", " null"]) + text[one.end() :]


def with_an_emptied_block(text: str, rng: random.Random) -> str:
    """Leave a key whose lines below it are gone, or are comments."""
    lines = lines_of(text)
    at = rng.choice([number for number, line in enumerate(lines) if line.rstrip().endswith(":")])
    depth = len(lines[at]) - len(lines[at].lstrip())
    end = at + 1
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > depth):
        end += 1
    gone = [f"#{line}" for line in lines[at + 1 : end]] if rng.random() < 0.5 else []
    return "\n".join([*lines[: at + 1], *gone, *lines[end:]])


def with_look_alikes(text: str, rng: random.Random) -> str:
    for one in rng.sample([*re.finditer("[" + re.escape("".join(LOOK_ALIKE)) + " ]", text)], rng.randrange(1, 4)):
        odd = rng.choice(LIKE_A_BLANK) if one[0] == " " else LOOK_ALIKE[one[0]]
        text = text[: one.start()] + odd + text[one.end() :]
    return text


def with_blanks_that_are_none(text: str, rng: random.Random) -> str:
    """Spoil an indentation or the blank behind a colon."""
    one = rng.choice([*re.finditer(r"^ +|(?<=:) ", text, re.MULTILINE)])
    return text[: one.start()] + rng.choice(LIKE_A_BLANK) * len(one[0]) + text[one.end() :]


FEW = 2  # of a kind that takes long: of these there are never more
MUTATIONS: list[tuple[Callable[[str, random.Random], str | bytes], int]] = [
    (without_a_key, 66),
    (with_a_wrong_type, 100),
    (with_a_renamed_id, 73),
    (with_odd_unicode, 50),
    (with_anchors, 20),
    (with_a_billion_laughs, 6),
    (with_a_tab, 20),
    (with_crlf, 20),
    (with_a_mark, 14),
    (with_moved_lines, 50),
    (twice, 17),
    (cut_short, 17),
    (nested, 2),
    (with_bytes, 10),
    (binary, 3),
    (large, 2),
    (emptied, 70),
    (with_an_emptied_block, 30),
    (with_look_alikes, 70),
    (with_blanks_that_are_none, 30),
]  # fmt: skip


def mutated(seed: int = 20261123) -> list[tuple[str, bytes]]:
    """Yield (mutation, document) for each mutation of all samples, joined into one file."""
    rng = random.Random(seed)
    whole = one_document()
    made = []
    for mutate, times in MUTATIONS:
        for _ in range(cases(times) if times > FEW else times):
            spoilt = mutate(whole, rng)
            made.append((mutate.__name__, spoilt if isinstance(spoilt, bytes) else spoilt.encode()))
    return made


def one_document() -> str:
    """Join the samples: each section once."""
    sections: dict[str, list[str]] = {}
    for path in sorted(SAMPLES.glob("*.yaml")):
        name = ""
        for line in path.read_text().splitlines():
            if found := re.match(r"([a-z]+):", line):
                name = found[1]
                sections.setdefault(name, [line])
            elif name:
                sections[name].append(line)
    return "\n".join(line for lines in sections.values() for line in lines) + "\n"


def test_the_document_they_come_from_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(one_document())
    assert not findings(given([str(path)]), NOW_US).problems


def test_every_mutated_document_is_sound_or_has_problems_that_point_into_it(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    made = mutated()
    assert {name for name, _ in made} == {mutate.__name__ for mutate, _ in MUTATIONS}
    rejected, slowest = 0, (0.0, "")
    for name, data in made:
        path.write_bytes(data)
        began = time.perf_counter()
        read = given([str(path)])
        found = findings(read, NOW_US)
        said = "".join(shown(found.problems, read.lines()))
        slowest = max(slowest, (time.perf_counter() - began, name))
        rejected += bool(found.errors)
        if not found.errors:
            comes_into_force(data, name)
        assert all(problem.message in said for problem in found.problems)
        points_into(found, read, data, name)
    print(f"\n{len(made)} documents, {rejected} rejected, the slowest {slowest[0]:.2f} s ({slowest[1]})")
    assert rejected > len(made) // 2
    assert slowest[0] < LONGEST_SECONDS


def comes_into_force(data: bytes, name: str) -> None:
    """Require that a document which passes the check is in the snapshot completely, and that a sidecar can build it."""
    settled = settle(Reading((File("f.yaml", data),)), None, NOW_US)
    assert settled.snapshot is not None, (name, settled.problems)
    assert not settled.held, (name, settled.held)
    assert build_plans(decode(encode(settled.snapshot)), NOW_US).placements, name


def points_into(found: Findings, read: Given, data: bytes, name: str) -> None:
    """Require of each problem a place in the file, a message and a remedy."""
    last = len(re.split(b"\r\n|\r|\n", data))
    for problem in found.problems:
        assert problem.message, (name, problem)
        assert 0 <= problem.line <= last, (name, problem)
        assert problem.file in read.shown.values() or problem.line == 0, (name, problem)
        if problem.severity == "error" and problem.line == 0:
            assert problem.code in WHOLE, (name, problem)


WHOLE = {"FILE_TOO_BIG", "NO_PLACEMENT", "NO_FILE", "EMPTY", "TOO_MANY_PROBLEMS", "NO_EXPERIMENT", "UNREADABLE"}


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ("status: runing", "UNKNOWN_VALUE"),
        ("status: &a running", "ANCHOR"),
        ("status: *a", "ALIAS"),
        ("status: !!str running", "TAG"),
        ("status: [running]", "UNKNOWN_VALUE"),
        ("status:\trunning\x00", "CONTROL_CHARACTER"),
        ("status: running\u2028", "LINE_SEPARATOR"),
        ("stotus: running", "UNKNOWN_FIELD"),
        ("status: running\n    status: running", "DUPLICATE_KEY"),
        ("status: @running", "SYNTAX"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_line_is_right_with_every_line_end_and_byte_order_mark(
    spoil: str, code: str, line_end: str, mark: str, tmp_path: Path
) -> None:
    path = tmp_path / "f.yaml"
    whole = one_document()
    line = next(number for number, text in enumerate(lines_of(whole), 1) if "status: running" in text)
    path.write_bytes((mark + whole.replace("status: running", spoil, 1).replace("\n", line_end)).encode())
    problems = findings(given([str(path)]), NOW_US).problems
    places = {problem.code: problem.line for problem in problems}
    assert places[code] == line + (code == "DUPLICATE_KEY")


def test_memory_stays_bounded_whatever_the_file(tmp_path: Path) -> None:
    """One process for each worst file, with an address space that an expanded document would exceed."""
    worst = {
        "laughs.yaml": with_a_billion_laughs(one_document(), random.Random(1)).encode(),
        "large.yaml": one_document().encode() + b"# x\n" * 1_310_720,
        "values.yaml": b"metrics: [" + b"1," * 524_000 + b"1]",
        "deep.yaml": b"[" * 1_000_000,
        "mistakes.yaml": b"experiments:\n" + b"".join(b"  x%d: 1\n" % number for number in range(80_000)),
    }
    for name, data in worst.items():
        (tmp_path / name).write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-m", "abside", "check", "--json", str(tmp_path / name)],
            capture_output=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY)),
        )
        assert done.returncode == 1, (name, done.stderr.decode()[-2000:])
        assert not done.stderr
        assert orjson.loads(done.stdout)["summary"]["errors"] >= 1


EVERY = 4  # of the documents, each before one command in turn: all of them before all take minutes
CALM = {
    mutate.__name__ for mutate, times in MUTATIONS if times > FEW
}  # the largest are tried in processes of their own
SOUND = Reading((File("f.yaml", one_document().encode()),))
EXPERIMENT, PLACEMENT = "pdp-reranker", "pdp"


class World:
    """A sound document beside one that is not."""

    def __init__(self, path: Path) -> None:
        self.sound, self.spoilt = path / "sound", path / "spoilt"
        for directory in (self.sound, self.spoilt):
            directory.mkdir()
            (directory / "f.yaml").write_text(one_document())
        snapshot = settle(SOUND, None, NOW_US).snapshot
        assert snapshot is not None
        self.force = encode(snapshot)

    def spoil(self, data: bytes) -> Reading:
        (self.spoilt / "f.yaml").write_bytes(data)
        return Reading((File("f.yaml", data),))


def check(world: World, _: Reading) -> int:
    return check_command.main(CheckSettings((str(world.spoilt),), json=True, strict=True))


def agent(world: World, new: Reading) -> int:
    """Settle as an agent that starts, and as one that has the sound ones in force: what it publishes can be built."""
    for last in (b"", world.force):
        outcome = answer(Order(new.pack(), last, NOW_US, 10, 2**30))
        if outcome.snapshot:
            assert build_plans(decode(outcome.snapshot), NOW_US).placements
        assert outcome.snapshot or outcome.problems or last
    return 0


def admission(_: World, new: Reading) -> int:
    judge(new, SOUND, NOW_US)
    judge(SOUND, new, NOW_US)
    judge(new, None, NOW_US, one_of_several=True)
    return 0


def explain(world: World, _: Reading) -> int:
    return explain_command.main(ExplainSettings((str(world.spoilt),), PLACEMENT, "u1", at=NOW_US))


def simulate(world: World, _: Reading) -> int:
    return simulate_command.main(SimulateSettings((str(world.spoilt),), units=20, at=NOW_US))


def diff(world: World, _: Reading) -> int:
    return diff_command.main(DiffSettings(str(world.sound), str(world.spoilt), at=NOW_US))


def diff_from(world: World, _: Reading) -> int:
    return diff_command.main(DiffSettings(str(world.spoilt), str(world.sound), at=NOW_US, json=True))


def new(world: World, _: Reading) -> int:
    return new_command.main(NewSettings("fresh", PLACEMENT, config=(str(world.spoilt),)))


def put(world: World, _: Reading) -> int:
    return set_command.main(SetSettings(EXPERIMENT, ("traffic=3%",), (str(world.spoilt),), yes=True))


def ship(world: World, _: Reading) -> int:
    return ship_command.main(ShipSettings(EXPERIMENT, "treatment", (str(world.spoilt),), yes=True))


COMMANDS: tuple[Callable[[World, Reading], int], ...] = (
    check, agent, admission, explain, simulate, diff, diff_from, new, put, ship,
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_command_takes_the_sound_document(command: Callable[[World, Reading], int], world: World) -> None:
    assert command(world, world.spoil(one_document().encode())) == 0


def test_no_command_ends_in_a_traceback(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    made = [(name, data) for name, data in mutated() if name in CALM][::EVERY]
    for number, (name, data) in enumerate(made):
        command = COMMANDS[number % len(COMMANDS)]
        assert command(world, world.spoil(data)) in {0, 1, 2}, (name, number)
        capsys.readouterr()
