"""Cat, dog or other from labels and a threshold (P4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.pets import contract
from lambdas.pets.classification import MIN_CONFIDENCE, Decision, decide

COMPLETED, UNCERTAIN = contract.COMPLETED, contract.UNCERTAIN


def label(name, confidence, *parents):
    return {"name": name, "confidence": confidence, "parents": list(parents)}


def cat(confidence):
    return label("Cat", confidence, "Animal", "Mammal", "Pet")


def dog(confidence):
    return label("Dog", confidence, "Animal", "Mammal", "Pet")


@pytest.mark.parametrize(
    ("labels", "decision"),
    [
        ([cat(97.39999)], Decision("cat", 97.4, COMPLETED)),
        ([dog(80.0)], Decision("dog", 80.0, COMPLETED)),
        ([dog(79.996)], Decision("dog", 80.0, COMPLETED)),  # as recorded
        ([dog(79.99)], Decision("dog", 79.99, UNCERTAIN)),
        ([dog(90), label("Siamese", 95.0, "Cat")], Decision("cat", 95.0, UNCERTAIN)),
        ([dog(80), cat(99)], Decision("cat", 99.0, UNCERTAIN)),
        ([dog(79.9), cat(99)], Decision("cat", 99.0, COMPLETED)),  # a hint
        ([dog(30), cat(40)], Decision("cat", 40.0, UNCERTAIN)),
        ([dog(60), label("Puppy", 96.5, "Animal", "Dog"), label("Pug", 80, "Dog")], Decision("dog", 96.5, COMPLETED)),
        ([label("Hot Dog", 99, "Food"), label("Catfish", 50, "Fish")], Decision("other", 99.0, COMPLETED)),
        ([label("Tree", 51.234), label("Plant", 99.999)], Decision("other", 100.0, COMPLETED)),
        ([], Decision("other", 0.0, COMPLETED)),
    ],
)
def test_decisions(labels, decision):
    """P4: below the threshold, or both: uncertain, with the best guess. Neither: other."""
    assert decide(labels, 80.0) == decide(labels[::-1], 80.0) == decision


@pytest.mark.parametrize(
    ("decision", "folder"),
    [
        (Decision("cat", 99, COMPLETED), "cats/"),
        (Decision("dog", 99, COMPLETED), "dogs/"),
        (Decision("other", 99, COMPLETED), "others/"),
        (Decision("dog", 40, UNCERTAIN), "others/"),
    ],
)
def test_folders(decision, folder):
    """P4: what is uncertain is filed under others/."""
    assert decision.folder == folder


LABELS = st.lists(
    st.builds(
        label, st.sampled_from(["Cat", "Dog", "Pug", "Siamese", "Car", "", "cat"]), st.floats(0, 100),
        st.sampled_from(["Cat", "Dog", "Animal"]),
    )
)  # fmt: skip


@given(LABELS, st.floats(0, 100))
def test_any_labels(labels, threshold):
    """P4: a decision, whatever the labels; its confidence is one that a label has."""
    decision = decide(labels, threshold)
    assert decision.animal in contract.ANIMALS
    assert decision.confidence in {0.0, *(round(each["confidence"], 2) for each in labels)}
    assert decision.status == COMPLETED or decision.animal != "other"
    if decision.status == COMPLETED and decision.animal != "other":
        assert decision.confidence >= threshold


def test_a_threshold_of_nothing():
    """P4: every hint is enough, but none at all is still no animal."""
    assert decide([cat(MIN_CONFIDENCE)], 0).status == COMPLETED
    assert decide([label("Tree", 50)], 0).animal == "other"
