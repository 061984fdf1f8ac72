"""Which watches the settings ask for, and what does not go together."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from abside_agent.settings import AgentSettings, object_name
from abside_agent.watch.begin import MAX_CONFIG_MAPS, SettingWrongError, names_watched

if TYPE_CHECKING:
    from pathlib import Path


def settings(config: tuple[str, ...] = ("/config",), **given: Any) -> AgentSettings:
    return AgentSettings(config, "/snapshot", **given)


def test_what_is_watched_is_what_is_named() -> None:
    assert names_watched(settings()) == ()
    assert names_watched(settings(("/a", "/b"), fast_watch="paused")) == ("paused",)
    assert names_watched(settings(fast_watch_config=("b", "a"))) == ("b", "a")
    assert names_watched(settings(fast_watch="paused", fast_watch_config=("b", "a"))) == ("paused", "b", "a")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"config": ("/a", "/b"), "fast_watch_config": ("x",)}, "of one --config directory, and there are 2"),
        ({"fast_watch_config": ("x", "y", "x")}, "x is given twice"),
        ({"fast_watch": "x", "fast_watch_config": ("x",)}, "x is that of --fast-watch"),
        ({"fast_watch_config": tuple(f"x{number}" for number in range(MAX_CONFIG_MAPS + 1))}, "17 ConfigMaps; at most"),
    ],
)
def test_what_does_not_go_together_is_refused_and_says_so(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingWrongError) as raised:
        names_watched(settings(**given))
    assert str(raised.value).startswith("--fast-watch-config: ")
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "name", ["", "Upper", "under_score", "-a", "a.", "a/b", "a..b", "a.-b", "a-.b", "a\n", "a" * 254]
)
def test_a_name_that_no_config_map_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a ConfigMap's name"):
        object_name(name)


@pytest.mark.parametrize("name", ["a", "0", "abside-paused", "a.b-c.9", "a--b", "a" * 253])
def test_a_name_that_a_config_map_can_have_is_taken(name: str) -> None:
    assert object_name(name) == name


def test_the_command_refuses_before_it_touches_anything(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot" / "s"
    where = ["--config", str(tmp_path), "--config", str(tmp_path / "b"), "--snapshot", str(snapshot), "--once"]
    command = [sys.executable, "-m", "abside", "agent", *where, "--fast-watch-config"]
    done = subprocess.run([*command, "experiments"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot_start" in done.stdout + done.stderr
    assert "mount them together, as one projected volume" in done.stdout + done.stderr
    done = subprocess.run([*command, "Experiments"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'Experiments' is not a ConfigMap's name" in done.stderr
    done = subprocess.run([*command[:-1], "--fast-watch", "a..b"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'a..b' is not a ConfigMap's name" in done.stderr
    assert not snapshot.parent.exists()
