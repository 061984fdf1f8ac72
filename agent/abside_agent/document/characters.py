"""Finds and names characters that look like others or are invisible, as chats and word processors insert them. Pure."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_SEPARATORS = "\x85\u2028\u2029"  # libyaml ends a line at these, as YAML 1.1 did
_BLANKS = "\xa0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000\u3164\u115f\u1160\uffa0"
_INVISIBLE = (
    "\xad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_QUOTES = "\u2018-\u201f\u2032-\u2037\u2039\u203a\xab\xbb\u301d-\u301f\uff02\uff07\xb4\u02bc\u02dd\u275b-\u275e"
_APOSTROPHES = "\u2018\u2019\u2032\xb4\uff07\u02bc"  # between two letters, as in a name
# Greek, Cyrillic, Armenian, Hebrew marks, Cherokee, Lisu, full width and two signs: some look Latin.
_FOREIGN = (
    "\u0370-\u052f\u0531-\u0587\u05f3\u05f4\u13a0-\u13fd\uab70-\uabbf\ua4d0-\ua4ff"
    "\uff21-\uff3a\uff41-\uff5a\u212e\u0261"
)
_DASHES = "\u2010-\u2015\u2212\ufe58\ufe63\uff0d"  # beside a Latin letter or a digit; alone they may be meant
_NO_TEXT = "\ufffc\ufffd\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"  # what another program could not write
_WIDE = {"\u3001": ",", "\u3002": "."}  # punctuation that Unicode does not fold to what it stands for
_ODD = re.compile(
    f"[{_BLANKS}{_INVISIBLE}{LINE_SEPARATORS}{_QUOTES}]|(?<=[A-Za-z])[{_FOREIGN}]|[{_FOREIGN}](?=[A-Za-z])"
    f"|[{_NO_TEXT}]|(?<=[A-Za-z0-9])[{_DASHES}]|[{_DASHES}](?=[A-Za-z0-9])"
)
_BLANK = re.compile(f"[{_BLANKS}{LINE_SEPARATORS}]")
_QUOTE = re.compile(f"[{_QUOTES}]")
_NOT_LETTER = re.compile(f"[{_BLANKS}{LINE_SEPARATORS}{_QUOTES}{_INVISIBLE}]")
_LOST = re.compile(f"[{_NO_TEXT}]")
_DASH = re.compile(f"[{_DASHES}]")
_LINE_END = re.compile("\r\n|\r|\n")
_JOINERS = "\u200c\u200d"  # within emoji, Persian and Indic words they are part of the writing
_LAST_LATIN = "\u02ff"
_TWINS = str.maketrans(
    "авеікмнорстухјѕАВЕІКМНОРСТУХЈЅοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "abeikmhopctyxjsABEIKMHOPCTYXJSoABEZHIKMNOPTYX",
)
# Same length, so that every place stays; U+2060 is what Unicode has for U+FEFF within a text.
_READABLE = str.maketrans({"\ufeff": "\u2060", **dict.fromkeys(LINE_SEPARATORS, " ")})


@dataclass(frozen=True, slots=True)
class Odd:
    """One such character: its offset in a text, and the parts of the problem that reports it."""

    at: int
    character: str
    code: str
    message: str
    remedy: str

    @property
    def code_point(self) -> str:
        """The code point in visible form: `U+00A0`."""
        return f"U+{ord(self.character):04X}"


@dataclass(slots=True)
class CharacterWatch:
    """The odd characters of a text, consumed in order while the text is read scalar by scalar."""

    text: str
    offsets: list[int] = field(default_factory=list)
    seen: int = 0  # how many of them were consumed
    reached: int = 0  # where the last scalar ended
    is_noted: bool = False  # one between scalars was reported: one is enough for a file

    @classmethod
    def over(cls, text: str) -> CharacterWatch:
        """Find the odd characters of a text."""
        return cls(text, [*_offsets(text)])

    def between(self, start: int) -> Odd | None:
        """Consume those before `start`, outside scalars; return the first outside comments, once in a file."""
        found = None
        while self.seen < len(self.offsets) and self.offsets[self.seen] < start:
            at = self.offsets[self.seen]
            end = start if self.is_noted else self._comment_end(at)
            if end <= at:
                found, self.is_noted = _odd(self.text, at), True
            self.seen = bisect_left(self.offsets, min(max(end, at + 1), start), lo=self.seen)
        return found

    def within(self, stop: int) -> Odd | None:
        """Consume those of a scalar, which begins where `between` ended; return the first."""
        first, self.reached = self.seen, stop
        self.seen = bisect_left(self.offsets, stop, lo=first)
        return _odd(self.text, self.offsets[first]) if first < self.seen else None

    def ahead(self, first_line: int, last_line: int) -> Odd | None:
        """Return the first not consumed yet on these lines, counted from 1, outside comments."""
        begins = [0, *(found.end() for found in _LINE_END.finditer(self.text)), len(self.text) + 1]
        start, stop = begins[max(first_line - 1, 0)], begins[min(last_line, len(begins) - 1)]
        ahead = (at for at in self.offsets[self.seen :] if start <= at < stop)
        return next((_odd(self.text, at) for at in ahead if self._comment_end(at) <= at), None)

    def _comment_end(self, at: int) -> int:
        """Return the end of the comment that contains `at`; 0 where there is none."""
        line = max(self.text.rfind("\n", 0, at), self.text.rfind("\r", 0, at)) + 1
        if "#" not in self.text[max(line, self.reached) : at]:
            return 0
        end = _LINE_END.search(self.text, at)
        return end.start() if end else len(self.text)


def odd_in(text: str) -> Odd | None:
    """Return the first character that looks like something else."""
    return next((_odd(text, at) for at in _offsets(text)), None)


def named(character: str) -> str:
    """Return the name and code point of a character."""
    return f"{unicodedata.name(character, 'a character without a name')} (U+{ord(character):04X})"


def beyond_ascii(text: str) -> str:
    """Return a part of a sentence that names the first character beyond ASCII; empty where there is none."""
    return next((f": {named(one)} is in it" for one in text if not one.isascii()), "")


def readable(text: str) -> str:
    """Return the text as YAML would read what a person sees, each character at its old place."""
    return text if text.isascii() else text.translate(_READABLE)


def as_meant(text: str) -> str:
    """Return the text without its odd characters, so that one of them causes one problem and not several."""
    kept, last = [], 0
    for at in _offsets(text):
        character = text[at]
        twin = " " if _BLANK.match(character) else "" if _NOT_LETTER.match(character) else _twin(character)
        kept += [text[last:at], twin]
        last = at + 1
    return "".join([*kept, text[last:]]).strip()


def _twin(character: str) -> str:
    return "-" if _DASH.match(character) else _folded(character) or character.translate(_TWINS)


def _offsets(text: str) -> Iterator[int]:
    if not text.isascii():
        folding = "".join(sorted(one for one in set(text) if _folded(one)))
        odd = re.compile(f"{_ODD.pattern}|[{re.escape(folding)}]") if folding else _ODD
        yield from (found.start() for found in odd.finditer(text) if not _belongs(text, found.start(), found[0]))


def _folded(character: str) -> str:
    """Return what Unicode folds a character to (NFKC) where that is ASCII, as of full-width text; else nothing."""
    if character.isascii():
        return ""
    meant = _WIDE.get(character) or unicodedata.normalize("NFKC", character).strip()
    return meant if meant.isascii() else ""


def _belongs(text: str, at: int, character: str) -> bool:
    """Whether a character is where it belongs: an apostrophe in a word, a joiner in a script that needs it."""
    before, after = text[at - 1 : at] or " ", text[at + 1 : at + 2] or " "
    if character in _APOSTROPHES:
        return before.isalnum() and after.isalnum()
    if character in _JOINERS:
        return before > _LAST_LATIN and after > _LAST_LATIN
    return "\ufe00" <= character <= "\ufe0f" and before > _LAST_LATIN  # it chooses how the one before it is drawn


def _odd(text: str, at: int) -> Odd:
    character = text[at]
    code = ord(character)
    name, escape = named(character), f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    meant = f'write "{escape}" in double quotes if it is meant'
    if character in LINE_SEPARATORS:
        return Odd(at, character, "LINE_SEPARATOR", f"an invisible line separator, {name}", f"delete it, or {meant}")
    if _BLANK.match(character):
        return Odd(at, character, "ODD_BLANK", f"{name} looks like a blank and is none", f"type a blank, or {meant}")
    if _QUOTE.match(character):
        return Odd(at, character, "ODD_QUOTE", f"{name} is no quote of YAML", f"type \" or ' instead, or {meant}")
    if _NOT_LETTER.match(character):
        return Odd(at, character, "INVISIBLE_CHARACTER", f"{name} cannot be seen", f"delete it, or {meant}")
    if _LOST.match(character):
        return Odd(at, character, "NO_CHARACTER", f"{name} stands where a character was lost", f"type it, or {meant}")
    if ascii_ := "-" if _DASH.match(character) else _folded(character):
        return Odd(at, character, "LOOK_ALIKE", f"{name} looks like {ascii_} and is not", f"type {ascii_}, or {meant}")
    message = f"{name} is beside a Latin letter and looks like one"
    return Odd(at, character, "FOREIGN_LETTER", message, f"type the Latin letter, or {meant}")
