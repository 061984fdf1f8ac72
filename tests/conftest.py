"""What tests of several rooms share."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass
class ConfigMapVolume:
    """A mounted ConfigMap: kubelet's atomic writer, step by step (pkg/volume/util/atomic_writer.go)."""

    path: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def swap(self, keys: Mapping[str, str | bytes]) -> None:
        """Replace all keys at once."""
        old = self.path / "..data"
        before = old.readlink() if old.is_symlink() else None
        stamped = self.path / f"..2026_11_23_09_00_00.{next(self._numbers):09}"
        stamped.mkdir()
        for name, content in keys.items():
            (stamped / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        (self.path / "..data_tmp").symlink_to(stamped.name)
        (self.path / "..data_tmp").rename(self.path / "..data")
        for name in keys:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(Path("..data") / name)
        for link in self.path.iterdir():
            if not link.name.startswith("..") and link.name not in keys:
                link.unlink()
        if before is not None:
            shutil.rmtree(self.path / before)


@pytest.fixture
def configmap_volume(tmp_path: Path) -> Callable[[str], ConfigMapVolume]:
    """Make a ConfigMap volume of a name; it is empty until its first swap."""

    def make(name: str) -> ConfigMapVolume:
        path = tmp_path / name
        path.mkdir()
        return ConfigMapVolume(path)

    return make
