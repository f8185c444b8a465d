"""Pages over several animals (P1a): nothing lost, nothing twice, newest first, also while new images arrive."""

import base64
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pets_aws import TABLE, FakeDynamoDb

from lambdas.pets import contract, listing
from lambdas.pets.records import Records


class Table:
    def __init__(self):
        self.dynamodb = FakeDynamoDb()
        self.records = Records(self.dynamodb, TABLE)
        self.number = 0

    def add(self, animal, second):
        self.number += 1
        image_id = str(uuid.UUID(int=(second * 7919 + self.number) % 1000 * 1000 + self.number))
        self.dynamodb.add(**{
            contract.IMAGE_ID: image_id,
            contract.ANIMAL: animal,
            contract.TIMESTAMP: f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z",
        })
        return image_id

    def page(self, cursor, limit, animals=contract.ANIMALS):
        return listing.page(animals, cursor, limit, self.records.newest)


ANIMAL = st.sampled_from(contract.ANIMALS)
IMAGES = st.lists(st.tuples(ANIMAL, st.integers(0, 20)), max_size=40)


FILTERS = st.sampled_from([*([animal] for animal in contract.ANIMALS), contract.ANIMALS])


@given(IMAGES, st.integers(1, 12), st.lists(IMAGES, max_size=5), FILTERS, st.sampled_from([1, 2, 1000]))
def test_pages(old, limit, arriving, animals, page):
    """P1a: each image that was there at the start comes once, in order of time; later ones, being newer, do not come at all."""
    table = Table()
    table.dynamodb.page = page
    expected = {table.add(animal, second) for animal, second in old if animal in animals} | {None}
    for animal, second in old:
        if animal not in animals:
            table.add(animal, second)
    shown, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        found, cursor = table.page(cursor, limit, animals)
        assert len(found) == limit or cursor is None
        shown += found
        for animal, second in arriving[pages] if pages < len(arriving) else ():
            table.add(animal, 100 + second)
        pages += 1
        if cursor is None:
            break
    assert {record[contract.IMAGE_ID] for record in shown} == expected - {None} and len(shown) == len(expected) - 1
    times = [record[contract.TIMESTAMP] for record in shown]
    assert times == sorted(times, reverse=True)


def test_last_page_says_so():
    """P1a: no cursor that leads to an empty page."""
    table = Table()
    for second in range(20):
        table.add("dog", second)
    assert [table.page(None, limit)[1] is None for limit in (19, 20, 21)] == [False, True, True]


def test_late_images_of_an_animal_not_shown_yet():
    """P1a: a new one stands before the pages that were shown, not on a later one."""
    table = Table()
    for second in range(5):
        table.add("dog", 10 + second)
    table.add("cat", 1)
    first, cursor = table.page(None, 3)
    table.add("cat", 50)
    second, cursor = table.page(cursor, 10)
    assert [record[contract.ANIMAL] for record in first + second] == ["dog"] * 5 + ["cat"] and cursor is None


def encoded(content):
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


ID, TIME = "6f1c2f6e-6d1b-4b57-9a3c-2f0f0f6f9d11", "2026-01-01T00:00:00Z"


def test_cursors_are_read_as_written():
    """P1a."""
    cursor = {"cat": None, "dog": listing.Position(TIME, ID), "other": listing.Position(TIME)}
    assert listing.read(listing.write(cursor), contract.ANIMALS) == cursor


@pytest.mark.parametrize(
    "position",
    [1, "x", {}, [], [TIME, ID, ID], [TIME, "x"], [TIME, None], ["x"], [TIME + "\n"], [1], [[TIME]], [TIME, ID.upper()], True,
     [TIME, ID + "\n"]],
)  # fmt: skip
def test_positions_that_are_none(position):
    """P1a: wrong shape, wrong types."""
    with pytest.raises(listing.InvalidCursor):
        listing.read(encoded({"cat": position, "dog": [TIME], "other": None}), contract.ANIMALS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"dog": [TIME]}, "another value of animal"),
        ({"cat": [TIME], "dog": None, "other": None, "bird": None}, "another value of animal"),
        (dict.fromkeys(contract.ANIMALS), "not a cursor"),  # we never hand out one for nothing
        ({}, "not a cursor"),
        ([], "not a cursor"),
        (7, "not a cursor"),
    ],
)
def test_cursors_of_other_queries(content, says):
    """P1a: a cursor goes with its filter."""
    with pytest.raises(listing.InvalidCursor, match=says):
        listing.read(encoded(content), contract.ANIMALS)


def in_base64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@given(st.text() | st.text("eyJAB019_-=", max_size=200) | st.binary(max_size=200).map(in_base64))
def test_any_cursor(text):
    """P1a: a cursor or a refusal."""
    try:
        assert set(listing.read(text, contract.ANIMALS)) == set(contract.ANIMALS)
    except listing.InvalidCursor:
        pass


@pytest.mark.parametrize("text", ["A" * 100_000, encoded("[" * 500), in_base64(b"[" * 700)])
def test_huge_cursors(text):
    """P1a: long, or deep."""
    with pytest.raises(listing.InvalidCursor):
        listing.read(text, contract.ANIMALS)


def test_longest_cursor_is_read():
    """P1a: the limit leaves room for what we write."""
    longest = listing.write(dict.fromkeys(contract.ANIMALS, listing.Position(TIME, ID)))
    assert len(longest) <= listing.MAX_CURSOR_CHARACTERS and listing.read(longest, contract.ANIMALS)
