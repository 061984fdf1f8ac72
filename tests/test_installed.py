"""What the tests need of Debian: installed, skipped for want of it, or failed for want of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

NOWHERE = {"abside-no-such-command": "abside-no-such-package", "true": "coreutils"}


def test_what_is_missing_is_named_in_a_skip_and_where_it_is_required_in_a_failure(debian: Callable[..., None]) -> None:
    message = "as root: apt-get install abside-no-such-package$"
    with pytest.raises(pytest.skip.Exception, match=message):
        debian(NOWHERE, install=False, require=False)
    with pytest.raises(pytest.fail.Exception, match=message):
        debian(NOWHERE, install=False, require=True)


def test_what_is_there_is_nobodys_business(debian: Callable[..., None]) -> None:
    debian({"true": "coreutils"}, install=True, require=True)
