"""For the tests of applications: a client without a sidecar, and a pytest fixture with a real one (docs/testing.md).

The clients need the base install, and are imported when they are asked for: pytest loads `abside.testing.plugin`, and
with it this package, in every run of an environment that has abside, also where it was installed alone (`--no-deps`).
The fixture compiles documents: it needs the `agent` extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abside.testing.fake import AsyncFakeClient, FakeClient

__all__ = ["AsyncFakeClient", "FakeClient"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from abside.testing import fake  # noqa: PLC0415 see above

        return getattr(fake, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
