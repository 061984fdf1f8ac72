from collections.abc import Callable
from typing import Any

from abside.report.page.experiment import ExperimentPage
from abside.report.report import Report
from abside.report.store.fallbacks import FallbackCounts
from abside.report.store.losses import ArmLedger
from abside.snapshot import Snapshot

PageOf = Callable[..., ExperimentPage]
ReportOn = Callable[..., Report]


def tell(till: Any, minute: float, boot: str, **fields: Any) -> None:
    """What a sidecar appends when it seals a segment: cumulative counts, by arm for the arms that changed."""
    blank: dict[str, Any] = {"boot": boot, "source": {}, "accepted": {}, "lost": {}, "exposures": []}
    till.add("account", minute, **{**blank, **fields})


def arm(variant: str, accepted: int, lost: int, experiment: str = "e") -> dict[str, Any]:
    return {"experiment": experiment, "variant": variant, "accepted": accepted, "lost": lost}


def test_losses_are_the_last_account_of_every_sidecar_by_arm(till: Any, page_of: PageOf) -> None:
    tell(till, 0, "b1", exposures=[arm("control", 1, 0), arm("x", 1, 0, "other")])
    tell(till, 1, "b1", exposures=[arm("control", 3, 0), arm("x", 3, 3, "other")])
    tell(till, 4, "b1", exposures=[arm("treatment", 0, 1)], clean_end=True)
    tell(till, 5, "b2", exposures=[arm("treatment", 1, 1), arm("control", 2, 0)])
    till.events.append(dict(till.events[-1]))
    till.expose(1, "control", user_id="u1")
    till.expose(1, "control", user_id="u1", phase=2)
    till.expose(1, "treatment", user_id="u2", phase=2)
    page = page_of(till.close())
    assert page.ledger == {"control": ArmLedger(accepted=5, lost=0), "treatment": ArmLedger(accepted=1, lost=2)}
    assert page.arrived == {"control": 2, "treatment": 1}  # of all phases, as the accounts count


def test_the_store_says_how_many_sidecars_ended_without_a_word(
    till: Any, report_on: ReportOn, documents: Callable[..., Snapshot]
) -> None:
    for boot in ("b1", "b2"):
        tell(till, 0, boot, accepted={"click": 7}, lost={"exposure": 1})
        tell(
            till, 1, boot, accepted={"click": 9}, lost={"exposure": 1}, **({"clean_end": True} if boot == "b1" else {})
        )
    account = report_on(till.close(), documents()).ledger
    assert (account.sidecars, account.without_end) == (2, 1)
    assert (account.accepted["click"], account.lost) == (18, {"exposure": 2})


def test_without_accounts_nothing_is_known_of_losses(till: Any, page_of: PageOf) -> None:
    till.expose(1, "control", user_id="u1")
    assert page_of(till.close()).ledger == {}


def test_fallbacks_of_clients_are_counted_by_arm_and_beside(till: Any, page_of: PageOf) -> None:
    def fallback(placement: str | None, count: int, **ids: str) -> None:
        properties = {"reason": "timeout", "count": count} | ({"placement": placement} if placement else {})
        till.add("client_fallback", 3, properties=properties, **ids)

    till.expose(0, "control", session_id="s1")
    till.expose(1, "control", session_id="s1", user_id="u1")
    till.expose(1, "treatment", user_id="u2")
    fallback("pdp", 2, user_id="u1", session_id="s7")
    fallback("pdp", 1, session_id="s1")  # the same person
    till.events.append(dict(till.events[-1]))
    fallback("pdp", 4, user_id="never exposed")
    fallback("home", 8, user_id="u2")
    fallback(None, 16, session_id="abside-client-1")
    page = page_of(till.close())
    assert page.fallbacks == FallbackCounts(calls=23, units={"control": 1}, elsewhere=2)
