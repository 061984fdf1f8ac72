"""Damaged files of a store go out of its readers' way, and stay for a person to look at."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

from abside.collector.store import UNREADABLE, hidden
from abside.log import Log

if TYPE_CHECKING:
    from abside.collector.store import FileUnreadable

log = Log("abside.collector.keep.aside")


def set_aside(unreadable: FileUnreadable) -> bool:
    """Rename a damaged file: it would break every reader of the store, and stopping for it would stop the rest.

    False where the disk does not take the new name; the file is then left as it is, and logged.
    """
    path = unreadable.path
    names = (hidden(path, f"{UNREADABLE}{number if number > 1 else ''}") for number in count(1))
    renamed = next(name for name in names if not os.path.lexists(name))
    try:
        path.rename(renamed)
    except OSError as exc:
        log.error("file_not_set_aside", file=str(path), reason=unreadable.reason, error=exc.strerror or str(exc))
        return False
    log.error("file_set_aside", file=str(path), renamed=renamed.name, reason=unreadable.reason)
    return True
