"""For the tests of applications: a client without a sidecar, and a pytest fixture with a real one (docs/testing.md).

The clients need the base install. The fixture, in `abside.testing.plugin`, compiles documents: it needs the `agent`
extra.
"""

from abside.testing.fake import AsyncFakeClient, FakeClient

__all__ = ["AsyncFakeClient", "FakeClient"]
