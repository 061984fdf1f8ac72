from typing import Any

import pytest

from abside.client import Assignment, Unit, Visit


def answered(kind: str, name: str) -> Assignment:
    return Assignment("pdp", {}, "c1", unit=Unit(type=kind, id=name))  # type: ignore[typeddict-item]


def test_the_first_unit_stays_through_login_and_logout() -> None:
    visit = Visit(session_id="s1")
    visit.saw(answered("session", "s1"))
    visit.login("u1")
    visit.saw(answered("user", "u1"))
    assert visit.pinned_unit == {"type": "session", "id": "s1"}
    visit.logout()
    assert (visit.user_id, visit.pinned_unit) == (None, {"type": "session", "id": "s1"})


def test_a_fallback_pins_nothing() -> None:
    visit = Visit(session_id="s1")
    visit.saw(Assignment("pdp", {}, None, fallback=True, why="timeout"))
    assert not visit.pinned_unit
    visit.login("u1")
    visit.saw(answered("user", "u1"))
    assert visit.pinned_unit == {"type": "user", "id": "u1"}


def test_another_users_unit_is_not_sent_back() -> None:
    visit = Visit(user_id="u1", session_id="s1")
    visit.saw(answered("user", "u1"))
    visit.login("u2")
    assert not visit.pinned_unit
    visit.saw(answered("user", "u2"))
    assert visit.pinned_unit == {"type": "user", "id": "u2"}


def test_an_integer_id_is_its_unit() -> None:
    visit = Visit(user_id=42)
    visit.saw(answered("user", "42"))
    assert visit.pinned_unit == {"type": "user", "id": "42"}


@pytest.mark.parametrize("kept", ["session", {"type": "session"}, {"type": "user", "id": 42}, []])
def test_what_a_session_kept_and_is_no_unit_is_refused_when_the_visit_is_made(kept: Any) -> None:
    with pytest.raises(ValueError, match=r"is no unit; pass the `unit` of an earlier answer"):
        Visit(session_id="s1", pinned_unit=kept)
