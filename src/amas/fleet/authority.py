"""What a fleet file says of rights: words that add to what a layer may do, or take away with a `-` before them.

`authority:` says so per layer, `rights:` per pool, on top of its layer's. A pool for which neither says anything keeps the
default, so that files without them mean what they always meant.
"""

from collections.abc import Mapping, Sequence

from amas.model.authority import AUTHORITY, Right
from amas.model.meant import did_you_mean
from amas.model.states import Layer


class RightsInvalid(ValueError):
    """A word is no right or no layer: the message says which there are."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def layer_rights(said: Mapping[str, Sequence[str]]) -> dict[Layer, frozenset[Right]]:
    """Return the rights of the layers that a fleet file speaks of; RightsInvalid for a layer or right that there isn't."""
    layers = list(map(str, Layer))
    for name in said:
        if name not in layers:
            mend = did_you_mean(name, layers) or f": the layers are {', '.join(layers)}"
            raise RightsInvalid(f"there is no layer {name!r}{mend}", f"authority.{name}")
    return {Layer(name): _changed(AUTHORITY[Layer(name)], words, f"authority.{name}") for name, words in said.items()}


def pool_rights(said: Sequence[str], layer: Layer, layers: Mapping[Layer, frozenset[Right]]) -> frozenset[Right] | None:
    """Return a pool's rights, None where the file leaves them at the default; RightsInvalid for a right that there isn't."""
    if not said:
        return layers.get(layer)
    return _changed(layers.get(layer, AUTHORITY[layer]), said, "rights")


def _changed(rights: frozenset[Right], words: Sequence[str], at: str) -> frozenset[Right]:
    known, seen = list(map(str, Right)), set[str]()
    for index, word in enumerate(words):
        name, field = word.removeprefix("-"), f"{at}[{index}]"
        if name not in known:
            mend = did_you_mean(name, known) or f": the rights are {', '.join(known)}; a - before one takes it away"
            raise RightsInvalid(f"there is no right {name!r}{mend}", field)
        if name in seen:
            raise RightsInvalid(f"{name!r} stands here twice: keep one", field)
        seen.add(name)
        rights = rights - {Right(name)} if word.startswith("-") else rights | {Right(name)}
    return rights
