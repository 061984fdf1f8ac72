"""From bytes to a text that YAML can have: UTF-8, of a bounded size, printable. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from abside_agent.document.characters import LINE_SEPARATORS, named
from abside_agent.document.reading import MAX_FILE_BYTES

if TYPE_CHECKING:
    from abside_agent.document.tree import Place

_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class Unreadable(Exception):  # noqa: N818 it ends the reading of a file and is caught in `parse`
    """The file as a whole cannot be read."""

    def __init__(self, code: str, place: Place, message: str, remedy: str, value: str = "") -> None:
        super().__init__(message)
        self.code, self.place, self.message, self.remedy, self.value = code, place, message, remedy, value


def text_of(data: bytes) -> str:
    """Decode a file. Raises Unreadable for one that is too large or not UTF-8."""
    if len(data) > MAX_FILE_BYTES:
        raise Unreadable(
            "FILE_TOO_BIG",
            (0, 0),
            f"the file is larger than the {MAX_FILE_BYTES:,} bytes of a ConfigMap",
            "split it over several ConfigMaps",
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("NOT_UTF8", (1, 1), "the file is UTF-16", "save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")  # editors on Windows begin UTF-8 with a byte order mark: harmless
    except UnicodeDecodeError as exc:
        good = data[: exc.start].decode()
        byte = f"byte 0x{data[exc.start]:02x}"
        raise Unreadable("NOT_UTF8", end_of(good), "the file is not UTF-8", "save it as UTF-8", byte) from exc
    return text


def printable(text: str) -> str:
    """Return the text, if YAML allows its characters. Raises Unreadable."""
    if odd := _NOT_PRINTABLE.search(text):
        place, name = end_of(text[: odd.start()]), f"U+{ord(odd[0]):04X}"
        if odd[0] in LINE_SEPARATORS:
            raise Unreadable(
                "LINE_SEPARATOR", place, f"an invisible line separator, {named(odd[0])}", "delete it", name
            )
        raise Unreadable("CONTROL_CHARACTER", place, "a control character: this is not a text file", "remove it", name)
    return text


def end_of(text: str) -> Place:
    """Return line and column of what follows `text`, as libyaml counts them."""
    lines = re.split("\r\n|\r|\n", text.removeprefix("\ufeff"))
    return len(lines), len(lines[-1]) + 1
