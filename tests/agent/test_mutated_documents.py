"""Five hundred documents spoilt by a seeded generator: no traceback, and each problem points into its file."""

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

from abside_agent.check_command import Findings, findings
from abside_agent.shown import shown
from abside_agent.sources.given import given

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside_agent.sources.given import Given

SAMPLES = Path(__file__).parents[2] / "k8s" / "experiments" / "config"
DOCUMENTS = 500
NOW_US = 1_795_000_000_000_000
LONGEST_SECONDS = 30.0  # of one document, on any machine: the measured ones take below a second
MOST_MEMORY = 512 * 2**20  # address space of a process that checks the worst of them, imports and all

ODD = ["ключ", "🙂", "a\u0301", "\u202e", "\x00", "\ufeff", "\u2028", "\x85", "\U0010ffff", "ﬀ"]
WRONG = ["true", "null", "-1", "1e400", "[]", "{}", "[[1]]", "0x1F", "1:30", "99999999999999999999", "'", '"', "~", "|"]


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


MUTATIONS: list[tuple[Callable[[str, random.Random], str | bytes], int]] = [
    (without_a_key, 60),
    (with_a_wrong_type, 90),
    (with_a_renamed_id, 80),
    (with_odd_unicode, 50),
    (with_anchors, 40),
    (with_a_billion_laughs, 15),
    (with_a_tab, 30),
    (with_crlf, 25),
    (with_a_mark, 20),
    (with_moved_lines, 30),
    (twice, 15),
    (cut_short, 15),
    (nested, 5),
    (with_bytes, 15),
    (binary, 6),
    (large, 4),
]  # fmt: skip


def mutated(seed: int = 20261123) -> list[tuple[str, bytes]]:
    """Give (mutation, document) for every one of them, spoiling all samples joined into one file."""
    rng = random.Random(seed)
    whole = one_document()
    made = []
    for mutate, times in MUTATIONS:
        for _ in range(times):
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
    assert len(made) == DOCUMENTS
    rejected, slowest = 0, (0.0, "")
    for name, data in made:
        path.write_bytes(data)
        began = time.perf_counter()
        read = given([str(path)])
        found = findings(read, NOW_US)
        said = "".join(shown(found.problems, read.lines()))
        slowest = max(slowest, (time.perf_counter() - began, name))
        rejected += bool(found.errors)
        assert all(problem.message in said for problem in found.problems)
        points_into(found, read, data, name)
    print(f"\n{len(made)} documents, {rejected} rejected, the slowest {slowest[0]:.2f} s ({slowest[1]})")
    assert rejected > DOCUMENTS // 2
    assert slowest[0] < LONGEST_SECONDS


def points_into(found: Findings, read: Given, data: bytes, name: str) -> None:
    """Hold each problem to a place in the file, a message and a remedy."""
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
    """One process of its own per worst file, held to an address space that a blown-up document would burst."""
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
