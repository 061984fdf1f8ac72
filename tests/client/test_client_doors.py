"""What the client needs installed: nothing for the blocking one, aiohttp for the other; never ours."""

import subprocess
import sys

import pytest

ALLOWED = {"abside", "abside.client"}


def loaded(statement: str) -> set[str]:
    """Import in a bare interpreter; return the modules that came from outside the standard library."""
    script = f"""
import sys
before = set(sys.modules)
{statement}
new = set(sys.modules) - before
print(*(name for name in new if name.split(".")[0] not in sys.stdlib_module_names))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(ended.stdout.split())


def test_the_blocking_client_needs_the_standard_library_only() -> None:
    names = loaded("from abside.client import Assignment, Client, Visit")
    assert {name for name in names if not name.startswith("abside.client.")} <= ALLOWED
    assert "abside.client.aio" not in names


def test_the_asyncio_client_needs_aiohttp_and_none_of_our_other_rooms() -> None:
    names = loaded("from abside.client import AsyncClient")
    assert {name for name in names if name.startswith("abside") and not name.startswith("abside.client.")} <= ALLOWED
    ours = {"orjson", "msgpack", "mmh3", "click", "uvloop", "prometheus_client"}
    assert not {name.split(".")[0] for name in names} & ours


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import abside.client as room  # noqa: PLC0415 the module itself is meant

    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        _ = room.Klient
    assert all(hasattr(room, name) for name in room.__all__)


@pytest.mark.parametrize(("name", "lacks"), [("AsyncClient", "aiohttp"), ("Local", "orjson")])
def test_what_a_client_alone_lacks_is_named_with_what_brings_it(name: str, lacks: str) -> None:
    script = (
        f"import sys; sys.modules[{lacks!r}] = None\nfrom abside.client import Client\nfrom abside.client import {name}"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert f"{name} needs {lacks}, which a client alone does without: pip install" in ended.stderr.splitlines()[-1]
