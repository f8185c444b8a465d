"""Cat, dog or other, from Rekognition's labels (P4). Rules only, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import contract

MIN_CONFIDENCE = 20.0
"""Per cent. Labels below are not even asked for: an animal that Rekognition is so unsure of is none."""

_LABELS = {"cat": "Cat", "dog": "Dog"}


@dataclass(frozen=True)
class Decision:
    """``confidence`` in per cent, to two decimals; ``status`` to be recorded once the image is filed."""

    animal: str
    confidence: float
    status: str

    @property
    def folder(self) -> str:
        return contract.FOLDERS["other" if self.status == contract.UNCERTAIN else self.animal]


def decide(labels: Sequence[Mapping[str, Any]], threshold: float) -> Decision:
    """What the labels (``contract``'s, of any order) say.

    An animal is present with the highest confidence among the label of its name and the labels below that one, such as the
    breeds: Siamese has the parent Cat. It is recognised from ``threshold`` on (per cent).

    * One recognised: that one, completed. A weaker hint at the other does not count: fur and pose are alike, and Rekognition
      hints at a dog in many a picture of a cat. That it is below the threshold says that it is not believed.
    * Both recognised: uncertain, even if one is far stronger: there may well be a cat and a dog in the picture.
    * None recognised, but one or both hinted at: uncertain. The stronger one is the best guess.
    * Not even a hint: other, completed, with the confidence of the strongest label; 0 if there is none.

    Confidences are compared as they are recorded, rounded: a record must not say 80.0 and mean less.
    """
    found = {animal: _confidence(labels, name) for animal, name in _LABELS.items()}
    best = max(found, key=lambda animal: found[animal])
    if not found[best]:
        strongest = max((_rounded(label) for label in labels), default=0.0)
        return Decision("other", strongest, contract.COMPLETED)
    recognised = [animal for animal, confidence in found.items() if confidence and confidence >= threshold]
    return Decision(best, found[best], contract.COMPLETED if recognised == [best] else contract.UNCERTAIN)


def _confidence(labels: Sequence[Mapping[str, Any]], name: str) -> float:
    of_animal = (_rounded(label) for label in labels if name == label["name"] or name in label["parents"])
    return max(of_animal, default=0.0)


def _rounded(label: Mapping[str, Any]) -> float:
    return round(float(label["confidence"]), 2)
