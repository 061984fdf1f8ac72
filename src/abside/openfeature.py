"""An OpenFeature provider over our client: placements are object flags, experiments are string flags, and it tracks.

Needs `pip install 'abside[openfeature]'`. docs/openfeature.md shows it at work.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn, cast

from openfeature.exception import (
    FlagNotFoundError,
    GeneralError,
    InvalidContextError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

from abside.client import Client, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openfeature.evaluation_context import EvaluationContext
    from openfeature.flag_evaluation import FlagValueType
    from openfeature.track import TrackingEventDetails

    from abside.client import Assignment
    from abside.client.local import Local

log = logging.getLogger("abside.openfeature")
DEADLINE_SECONDS = 0.02  # of a decision, as the client's own
_USER_NAMES = ("user_id", "userId")
_SESSION_NAMES = ("session_id", "sessionId")
_NO_SUCH_TYPE = "flags are objects (placements) and strings (experiments); read {} from a placement's object"
_ERRORS = {
    "FLAG_NOT_FOUND": FlagNotFoundError,
    "UNKNOWN_PLACEMENT": FlagNotFoundError,
    "TARGETING_KEY_MISSING": TargetingKeyMissingError,
    "INVALID_CONTEXT": InvalidContextError,
    "INVALID_UNIT": InvalidContextError,
    "UNSENDABLE": InvalidContextError,
}


class Provider(AbstractProvider):
    """Pass it to `openfeature.api.set_provider`; one for the process.

    It asks the sidecar at `address`, each time within `deadline_seconds`; or `client`, a strict one, for example
    `abside.client.local.Local(strict=True)`, which decides in this process. Evaluating a placement is exposure; with
    `expose=False` it is not, and the answer's metadata has an `exposureToken` to track as `$exposure` when the answer
    is used. Without an answer a placement has the base parameters seen last, reason STALE, else your default.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:7600",
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        expose: bool = True,
        client: Client | Local | None = None,
    ) -> None:
        super().__init__()
        self.client: Client | Local = client or Client(address, deadline_seconds=deadline_seconds, strict=True)
        self._expose = expose

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata(name="abside")

    def shutdown(self) -> None:
        """Post the fallbacks that are left, within a second, and close the connections."""
        self.client.close()

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Return a placement's configuration. Raises an OpenFeatureError where the SDK is to answer the default."""
        context = sent_context(evaluation_context)
        attributes = dict(context)
        user_id, session_id = _taken(attributes, (*_USER_NAMES, "targetingKey")), _taken(attributes, _SESSION_NAMES)
        if user_id is None and session_id is None:  # the placement's own parameters
            details = self._evaluated(flag_key, default_value, context)
            if not isinstance(details.value, dict):
                raise TypeMismatchError(f"{flag_key} is an experiment: evaluate it as a string")
            return details
        try:
            answer = self.client.assign(
                flag_key, user_id=user_id, session_id=session_id, attributes=attributes, expose=self._expose
            )
        except Refused as refused:
            _raise(refused)
        if answer.fallback and answer.config_id is None:
            raise GeneralError(f"no answer of the sidecar: {answer.why}")
        return FlagResolutionDetails(
            cast("dict[str, FlagValueType]", answer.config),
            reason=_reason(answer),
            variant=answer.config_id,
            flag_metadata=_metadata(answer),
        )

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Return the variant of an experiment; the default for who is not in it. Raises as the other."""
        if not self._expose:
            remedy = f"evaluate its placement, whose metadata has the variant as experiment.{flag_key}"
            raise GeneralError(f"an experiment's evaluation is exposure, and expose is False: {remedy}")
        details = self._evaluated(flag_key, default_value, sent_context(evaluation_context))
        if not isinstance(details.value, str):
            raise TypeMismatchError(f"{flag_key} is a placement: evaluate it as an object")
        return details

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Raise TypeMismatchError: no flag is one, and nothing was evaluated."""
        raise TypeMismatchError(_NO_SUCH_TYPE.format("a boolean"))

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Raise TypeMismatchError: no flag is one, and nothing was evaluated."""
        raise TypeMismatchError(_NO_SUCH_TYPE.format("a whole number"))

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Raise TypeMismatchError: no flag is one, and nothing was evaluated."""
        raise TypeMismatchError(_NO_SUCH_TYPE.format("a number"))

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Report what the shopper did. A mistake is logged: nothing is returned. docs/api.md has the rules."""
        value = None if tracking_event_details is None else tracking_event_details.value
        attributes = {} if tracking_event_details is None else tracking_event_details.attributes
        context = sent_context(evaluation_context)
        try:
            self.client.track(tracking_event_name, context=context, value=value, attributes=attributes)
        except Refused as refused:
            log.warning("not tracked: %s", refused)

    def _evaluated(self, key: str, default: Any, context: Mapping[str, Any]) -> FlagResolutionDetails[Any]:
        try:
            flag = self.client.evaluate(key, context=context)
        except Refused as refused:
            _raise(refused)
        if flag.why is not None:
            raise GeneralError(f"no answer of the sidecar: {flag.why}")
        value = default if flag.value is None else flag.value
        return FlagResolutionDetails(
            value, reason=Reason(flag.reason), variant=flag.variant, flag_metadata=dict(flag.metadata)
        )


def sent_context(context: EvaluationContext | None) -> dict[str, Any]:
    """Return an SDK's context as the sidecar reads it; the client gives times and the like their forms."""
    if context is None:
        return {}
    sent: dict[str, Any] = dict(context.attributes)
    if context.targeting_key:
        sent["targetingKey"] = context.targeting_key
    return sent


def _taken(attributes: dict[str, Any], names: Sequence[str]) -> Any:
    """Take the ids of these names out of the attributes; return the first that is there."""
    found = [attributes.pop(name) for name in names if name in attributes]
    return next((one for one in found if one not in (None, "")), None)


def _reason(answer: Assignment) -> Reason:
    if answer.fallback:
        return Reason.STALE
    return Reason.SPLIT if answer.assignments else Reason.DEFAULT


def _metadata(answer: Assignment) -> dict[str, str]:
    found = {f"experiment.{one.experiment}": one.variant for one in answer.assignments}
    more = {
        "revision": answer.revision,
        "exposureId": answer.exposure_id,
        "exposureToken": answer.exposure_token,
        "fallback": answer.why,
    }
    return {**found, **{name: value for name, value in more.items() if value is not None}}


def _raise(refused: Refused) -> NoReturn:
    raise _ERRORS.get(refused.code, GeneralError)(str(refused)) from refused
