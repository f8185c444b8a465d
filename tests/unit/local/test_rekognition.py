"""The stand-in for Rekognition answers, checks and fails as the service does (P2, P9)."""

import base64
import json
import struct

import pytest

from local.pictures import averaged, cat, jpeg, png
from local.rekognition import Rekognition, picture_of

SMALL = averaged(cat(), 2)  # 160 by 120
WHITE = [[(255, 255, 255)] * 80] * 80


def never(*_):
    raise AssertionError("nothing was to be read")


def ask(image, *, service=None, target="RekognitionService.DetectLabels", read=never, **more):
    """Status and answer to an image as bytes."""
    inline = {"Bytes": base64.b64encode(image).decode()} if isinstance(image, bytes) else image
    return (service or Rekognition()).handle(target, json.dumps({"Image": inline, **more}).encode(), read)


def names(answer):
    return [label["Name"] for label in answer["Labels"]]


def sized(width, height):
    """A PNG's head that claims these dimensions."""
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)


@pytest.mark.parametrize("draw", [png, jpeg])
def test_labels_as_the_api_gives_them(draw):
    """P4: with parents, which are labels too; surest first; the version, and no orientation."""
    status, answer = ask(draw(SMALL, {"labels": {"Cat": 97.4, "Chair": 60}}))
    assert status == 200 and set(answer) == {"Labels", "LabelModelVersion"}
    assert names(answer) == ["Animal", "Cat", "Mammal", "Pet", "Chair"]
    [found] = [label for label in answer["Labels"] if label["Name"] == "Cat"]
    box = found.pop("Instances")[0]
    assert found == {"Name": "Cat", "Confidence": 97.4, "Aliases": [], "Categories": [{"Name": "Animals and Pets"}],
                     "Parents": [{"Name": "Animal"}, {"Name": "Mammal"}, {"Name": "Pet"}]}
    assert set(box["BoundingBox"]) == {"Width", "Height", "Left", "Top"}


def test_least_and_most():
    """P4: 55 per cent unless asked otherwise; the surest ones if there are too many."""
    image = png(SMALL, {"labels": {"Tree": 80, "Chair": 54.9, "Rock": 90}})
    assert names(ask(image)[1]) == ["Rock", "Tree"]
    assert names(ask(image, MinConfidence=0)[1]) == ["Rock", "Tree", "Chair"]
    assert names(ask(image, MaxLabels=1)[1]) == ["Rock"]


@pytest.mark.parametrize("sees", [
    None, {"labels": {"Cat": "97"}}, {"labels": ["Cat"]}, {"labels": {"Cat": 101}}, {"errors": ["Surprise"]}, {"always": [1]},
    {"errors": "ThrottlingException"}, ["Cat"], {"labels": {"Cat": True}}, {"errors": [["ThrottlingException"]]},
])
def test_a_picture_that_says_nothing_valid_shows_no_animal(sees):
    status, answer = ask(png(SMALL, sees))
    assert status == 200 and names(answer) == ["Landscape", "Nature", "Outdoors", "Scenery"]


def test_international_text():
    data = b"sees\0\0\0\0\0" + json.dumps({"labels": {"Dog": 90}}).encode()
    file = png(SMALL)
    text = struct.pack(">I4s", len(data), b"iTXt") + data + bytes(4)
    picture = picture_of(file[:33] + text + file[33:])
    assert picture and picture.texts == {"sees": '{"labels": {"Dog": 90}}'}


def test_errors_come_first_and_in_order():
    """P3: throttled twice, then answered; counted for the content, until forgotten."""
    image = png(SMALL, {"labels": {"Cat": 99}, "errors": ["ThrottlingException", "InternalServerError"]})
    service = Rekognition()
    answers = [ask(image, service=service) for _ in range(3)]
    assert [(status, answer.get("__type")) for status, answer in answers] == [
        (400, "ThrottlingException"), (500, "InternalServerError"), (200, None)]
    assert ask(png(SMALL, {"labels": {"Cat": 98}}), service=service)[0] == 200
    service.forget()
    assert ask(image, service=service)[0] == 400


def test_down():
    service, image = Rekognition(), png(SMALL, {"always": "InternalServerError"})
    for _ in range(5):
        status, answer = ask(image, service=service)
        assert status == 500 and answer["__type"] == answer["Code"] == "InternalServerError"


@pytest.mark.parametrize("image, code, says", [
    (b"GIF89a" + bytes(99), "InvalidImageFormatException", "Request has invalid image format"),
    (b"\xff\xd8\xff", "InvalidImageFormatException", "format"),
    (b"\x89PNG\r\n\x1a\n", "InvalidImageFormatException", "format"),
    (b"text", "InvalidImageFormatException", "format"),
    (b"", "ValidationException", "length greater than or equal to 1"),
    (png([row[:79] for row in WHITE]), "InvalidParameterException", "Request has invalid parameters"),
    (png(WHITE[:79]), "InvalidParameterException", "invalid parameters"),
    (sized(10_001, 80), "ImageTooLargeException", "10001 x 80 exceed maximum dimension size of 10000"),
    (png(WHITE) + bytes(5 * 1024 * 1024), "ValidationException", "5242880"),
    ({}, "InvalidParameterException", "parameters"),
    ({"Bytes": "AAAA", "S3Object": {"Bucket": "b", "Name": "k"}}, "InvalidParameterException", "parameters"),
    ({"Bytes": "€"}, "SerializationException", "base64"),
    ({"S3Object": {"Bucket": "b"}}, "InvalidParameterException", "parameters"),
    ([], "InvalidParameterException", "parameters"),
])
def test_images_that_are_refused(image, code, says):
    """P9: each with the real API's error."""
    status, answer = ask(image)
    assert (status, answer["__type"], answer["Code"]) == (400, code, code) and says in answer["Message"]


@pytest.mark.parametrize("size", [(80, 80), (10_000, 80)])
def test_the_bounds_are_inside(size):
    """P9: 80 and 10,000 pixels are allowed."""
    assert ask(sized(*size))[0] == 200


@pytest.mark.parametrize("more", [{"MinConfidence": 100.5}, {"MinConfidence": -1}, {"MaxLabels": -1}])
def test_numbers_out_of_range(more):
    status, answer = ask(png(SMALL), **more)
    assert status == 400 and answer["__type"] == "ValidationException" and next(iter(more))[1:] in answer["Message"]


@pytest.mark.parametrize("body, code", [(b"[]", "SerializationException"), (b"{", "SerializationException"),
                                        (b"[" * 100_000, "SerializationException")])
def test_requests_that_are_none(body, code):
    status, answer = Rekognition().handle("RekognitionService.DetectLabels", body, never)
    assert (status, answer["__type"]) == (400, code)


def test_objects_are_read_by_version():
    """P2: what the caller may not read is no better than what is not there; 15 MB may be read."""
    asked = []
    kept = {("b", "k", "v1"): png(SMALL, {"labels": {"Dog": 90}}), ("b", "big", None): sized(80, 80) + bytes(15 * 1024 * 1024)}

    def read(*place):
        asked.append(place)
        return kept.get(place)

    found = ask({"S3Object": {"Bucket": "b", "Name": "k", "Version": "v1"}}, read=read)
    assert found[0] == 200 and asked == [("b", "k", "v1")]
    status, answer = ask({"S3Object": {"Bucket": "b", "Name": "k"}}, read=read)
    assert status == 400 and answer["__type"] == "InvalidS3ObjectException" and "object metadata" in answer["Message"]
    assert ask({"S3Object": {"Bucket": "b", "Name": "big"}}, read=read)[1]["__type"] == "ImageTooLargeException"


def test_other_actions_are_unknown():
    status, answer = ask(png(SMALL), target="RekognitionService.DetectFaces")
    assert (status, answer["__type"]) == (400, "UnknownOperationException")
