"""Certificates that are renewed in the very moment in which they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from abside.serve.certificate import Certificate, CertificateUnusable, Pair, not_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.serve.conftest import Mount


class Swapped(Certificate):
    """Files that are swapped for the next folder, if there is one, after a read; `later`: after they were loaded."""

    def __init__(self, mount: Mount, *folders: Path) -> None:
        self._mount, self.folders = mount, list(folders)
        self.later: list[Path] = []
        super().__init__(mount.at / "tls.crt", mount.at / "tls.key")

    def _read(self) -> tuple[bytes, bytes]:
        found = super()._read()
        if self.folders:
            self._mount.show(self.folders.pop(0))
        return found

    def _loaded(self, cert: bytes, key: bytes) -> Pair:
        try:
            return super()._loaded(cert, key)
        finally:
            if self.later:
                self._mount.show(self.later.pop(0))


def test_a_pair_that_is_swapped_while_it_is_read_is_shown_as_it_is_after_that(
    mount: Mount, made: Callable[[str], Path]
) -> None:
    certificate = Swapped(mount, made("late"))
    assert certificate.not_after == not_after((made("late") / "tls.crt").read_bytes())
    assert certificate.problem is None


def test_a_pair_that_is_whole_a_moment_later_is_no_trouble(
    mount: Mount, made: Callable[[str], Path], tmp_path: Path
) -> None:
    half = tmp_path / "half"
    half.mkdir()
    (half / "tls.crt").write_bytes((made("two") / "tls.crt").read_bytes())
    (half / "tls.key").write_bytes((made("one") / "tls.key").read_bytes())
    certificate = Swapped(mount)
    mount.show(half)
    certificate.later = [made("two")]
    certificate.look()
    assert certificate.problem is None
    assert certificate.not_after == not_after((made("two") / "tls.crt").read_bytes())


def test_a_pair_that_never_rests_is_a_problem_and_no_loop(mount: Mount, made: Callable[[str], Path]) -> None:
    with pytest.raises(CertificateUnusable, match="is changed again and again"):
        Swapped(mount, *[made(kind) for kind in ("one", "two") * 5])
