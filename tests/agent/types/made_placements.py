"""The placements' configurations. Made by `abside types`: change the documents, and run it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict


class P007Config(TypedDict):
    """The configuration at 007, as JSON has it."""

    rows: int


@dataclass(frozen=True, slots=True)
class P007:
    """The configuration at 007."""

    rows: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> P007:
        """Make one of an answer's `config`; what it lacks has the placement's own value."""
        return cls(
            rows=config.get("rows", P007_BASE["rows"]),
        )


# The placement's own values: `fallback=P007_BASE` of a call.
P007_BASE: Final[P007Config] = {
    "rows": 5,
}


class ProductPageV2MoreConfig(TypedDict):
    """The configuration at Product-Page-v2.more, as JSON has it."""

    rows: int


@dataclass(frozen=True, slots=True)
class ProductPageV2More:
    """The configuration at Product-Page-v2.more."""

    rows: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ProductPageV2More:
        """Make one of an answer's `config`; what it lacks has the placement's own value."""
        return cls(
            rows=config.get("rows", PRODUCT_PAGE_V2_BASE["more"]["rows"]),
        )


class ProductPageV2Config(TypedDict):
    """The configuration at Product-Page-v2, as JSON has it."""

    rows: int
    more: ProductPageV2MoreConfig


@dataclass(frozen=True, slots=True)
class ProductPageV2:
    """The configuration at Product-Page-v2."""

    rows: int
    more: ProductPageV2More

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ProductPageV2:
        """Make one of an answer's `config`; what it lacks has the placement's own value."""
        return cls(
            rows=config.get("rows", PRODUCT_PAGE_V2_BASE["rows"]),
            more=ProductPageV2More.from_config(config.get("more", PRODUCT_PAGE_V2_BASE["more"])),
        )


# The placement's own values: `fallback=PRODUCT_PAGE_V2_BASE` of a call.
PRODUCT_PAGE_V2_BASE: Final[ProductPageV2Config] = {
    "rows": 5,
    "more": {
        "rows": 1,
    },
}


# The configuration at any.only, as JSON has it.
Any2OnlyConfig = TypedDict(
    "Any2OnlyConfig",
    {
        "top-n": int,
    },
)


@dataclass(frozen=True, slots=True)
class Any2Only:
    """The configuration at any.only."""

    top_n: int  # "top-n"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any2Only:
        """Make one of an answer's `config`; what it lacks has the placement's own value."""
        return cls(
            top_n=config.get("top-n", ANY2_BASE["only"]["top-n"]),
        )


class Any2Config(TypedDict):
    """The configuration at any, as JSON has it."""

    only: Any2OnlyConfig


@dataclass(frozen=True, slots=True)
class Any2:
    """The configuration at any."""

    only: Any2Only

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any2:
        """Make one of an answer's `config`; what it lacks has the placement's own value."""
        return cls(
            only=Any2Only.from_config(config.get("only", ANY2_BASE["only"])),
        )


# The placement's own values: `fallback=ANY2_BASE` of a call.
ANY2_BASE: Final[Any2Config] = {
    "only": {
        "top-n": 2,
    },
}


class PdpWeightsDeepConfig(TypedDict):
    """The configuration at pdp.weights.deep, as JSON has it."""

    depth: int


@dataclass(frozen=True, slots=True)
class PdpWeightsDeep:
    """The configuration at pdp.weights.deep."""

    depth: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PdpWeightsDeep:
        """Make one of an answer's `config`; what it lacks has the placement's own value."""
        return cls(
            depth=config.get("depth", PDP_BASE["weights"]["deep"]["depth"]),
        )


# The configuration at pdp.weights, as JSON has it.
PdpWeightsConfig = TypedDict(
    "PdpWeightsConfig",
    {
        "margin": float,
        "fresh-ness": float,
        "deep": PdpWeightsDeepConfig,
    },
)


@dataclass(frozen=True, slots=True)
class PdpWeights:
    """The configuration at pdp.weights."""

    margin: float
    fresh_ness: float  # "fresh-ness"
    deep: PdpWeightsDeep

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PdpWeights:
        """Make one of an answer's `config`; what it lacks has the placement's own value."""
        return cls(
            margin=config.get("margin", PDP_BASE["weights"]["margin"]),
            fresh_ness=config.get("fresh-ness", PDP_BASE["weights"]["fresh-ness"]),
            deep=PdpWeightsDeep.from_config(config.get("deep", PDP_BASE["weights"]["deep"])),
        )


class PdpSlotsEntryConfig(TypedDict):
    """The configuration at pdp.slots-entry, as JSON has it."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class PdpSlotsEntry:
    """The configuration at pdp.slots-entry."""

    name: str
    size: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PdpSlotsEntry:
        """Make one of an answer's `config`."""
        return cls(
            name=config["name"],
            size=config["size"],
        )


# The configuration at pdp, as JSON has it.
PdpConfig = TypedDict(
    "PdpConfig",
    {
        "model": str,
        "item_count": int,
        "weights": PdpWeightsConfig,
        "tags": list[str],
        "mixed": list[int | str],
        "numbers": list[float],
        "empty": list[Any],
        "nested": list[list[int]],
        "slots": list[PdpSlotsEntryConfig],
        "odd": list[dict[str, Any]],
        "class": str,
        "top-n": int,
        "top_n": int,
        "str": str,
        "3d": bool,
        "über": str,
        "from_config": int,
        "__x": int,
    },
)


@dataclass(frozen=True, slots=True)
class Pdp:
    """The configuration at pdp."""

    model: str
    item_count: int
    weights: PdpWeights
    tags: tuple[str, ...]
    mixed: tuple[int | str, ...]
    numbers: tuple[float, ...]
    empty: tuple[Any, ...]
    nested: tuple[tuple[int, ...], ...]
    slots: tuple[PdpSlotsEntry, ...]
    odd: tuple[dict[str, Any], ...]
    class_: str  # "class"
    top_n2: int  # "top-n"
    top_n: int
    str_: str  # "str"
    n3d: bool  # "3d"
    ber: str  # "über"
    from_config_: int  # "from_config"
    x: int  # "__x"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Pdp:
        """Make one of an answer's `config`; what it lacks has the placement's own value."""
        return cls(
            model=config.get("model", PDP_BASE["model"]),
            item_count=config.get("item_count", PDP_BASE["item_count"]),
            weights=PdpWeights.from_config(config.get("weights", PDP_BASE["weights"])),
            tags=tuple(config.get("tags", PDP_BASE["tags"])),
            mixed=tuple(config.get("mixed", PDP_BASE["mixed"])),
            numbers=tuple(config.get("numbers", PDP_BASE["numbers"])),
            empty=tuple(config.get("empty", PDP_BASE["empty"])),
            nested=tuple(tuple(one) for one in config.get("nested", PDP_BASE["nested"])),
            slots=tuple(PdpSlotsEntry.from_config(one) for one in config.get("slots", PDP_BASE["slots"])),
            odd=tuple(dict(one) for one in config.get("odd", PDP_BASE["odd"])),
            class_=config.get("class", PDP_BASE["class"]),
            top_n2=config.get("top-n", PDP_BASE["top-n"]),
            top_n=config.get("top_n", PDP_BASE["top_n"]),
            str_=config.get("str", PDP_BASE["str"]),
            n3d=config.get("3d", PDP_BASE["3d"]),
            ber=config.get("über", PDP_BASE["über"]),
            from_config_=config.get("from_config", PDP_BASE["from_config"]),
            x=config.get("__x", PDP_BASE["__x"]),
        )


# The placement's own values: `fallback=PDP_BASE` of a call.
PDP_BASE: Final[PdpConfig] = {
    "model": "ranker-v1",
    "item_count": 12,
    "weights": {
        "margin": 0.0,
        "fresh-ness": 1.0,
        "deep": {
            "depth": 1,
        },
    },
    "tags": ["a", "b"],
    "mixed": [1, "a"],
    "numbers": [0, 0.5],
    "empty": [],
    "nested": [[1, 2], [3]],
    "slots": [{
        "name": "a",
        "size": 1,
    }, {
        "name": "b",
        "size": 2,
    }],
    "odd": [{
        "name": "a",
    }, {
        "size": 2,
    }],
    "class": "x",
    "top-n": 3,
    "top_n": 4,
    "str": "text",
    "3d": True,
    "über": "😀 \"quoted\" \\",
    "from_config": 1,
    "__x": 2,
}


class ProductPageV22Config(TypedDict):
    """The configuration at product-page.v2, as JSON has it."""

    rows: int


@dataclass(frozen=True, slots=True)
class ProductPageV22:
    """The configuration at product-page.v2."""

    rows: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ProductPageV22:
        """Make one of an answer's `config`; what it lacks has the placement's own value."""
        return cls(
            rows=config.get("rows", PRODUCT_PAGE_V22_BASE["rows"]),
        )


# The placement's own values: `fallback=PRODUCT_PAGE_V22_BASE` of a call.
PRODUCT_PAGE_V22_BASE: Final[ProductPageV22Config] = {
    "rows": 5,
}
