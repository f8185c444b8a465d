"""Hostile images and requests (P1a, P1b, P9, C13): refused with a reason, or taken for what they are; nothing in them counts."""

import base64
import io
import json
import struct
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pets_aws import ID, request
from pictures import SIGNATURE, chunk, ihdr, jpeg, png, rows, segment, sof

from lambdas.pets import contract, images, requests
from lambdas.pets.images import Facts, Refused


def archive():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("x.html", "<script>alert(1)</script>")
    return file.getvalue()


def exif(*entries, following=0, extra=b""):
    """An APP1 segment; each entry is tag, type, count, value."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + directory + struct.pack("<I", following) + extra)


HTML = b"<html><script>alert(1)</script></html>"
BOMB = zlib.compress(bytes(50_000_000), 9)  # 49 KB
IEND = chunk(b"IEND")
FRAME = struct.pack(">IIIIIHHBB", 0, 80, 80, 0, 0, 1, 1, 0, 0)

# What they are, whatever else is in them.
TAKEN = {
    "JPEG with a zip archive behind it": (jpeg() + archive(), Facts("jpg", 80, 80)),
    "PNG with a zip archive behind it": (png() + archive(), Facts("png", 80, 80)),
    "JPEG with HTML behind it": (jpeg() + HTML, Facts("jpg", 80, 80)),
    "PNG with another PNG behind it": (png() + png(90, 90), Facts("png", 80, 80)),
    "JPEG with another JPEG behind it": (jpeg() + jpeg(90, 90), Facts("jpg", 80, 80)),
    "JPEG with HTML in its comment": (jpeg(before=segment(0xFE, HTML)), Facts("jpg", 80, 80)),
    "JPEG with a PNG in its comment": (jpeg(before=segment(0xFE, png(90, 90))), Facts("jpg", 80, 80)),
    "JPEG with a whole JPEG in its EXIF data": (jpeg(before=exif(extra=jpeg(160, 120))), Facts("jpg", 80, 80)),
    "EXIF that goes round in a circle": (jpeg(before=exif((0x8769, 4, 1, 8), following=8)), Facts("jpg", 80, 80)),
    "EXIF with four billion values": (jpeg(before=exif((0x927C, 7, 0xFFFFFFFF, 0xFFFFFFF0))), Facts("jpg", 80, 80)),
    "EXIF that tells another size": (jpeg(before=exif((0xA002, 4, 1, 20_000), (0xA003, 4, 1, 20_000))), Facts("jpg", 80, 80)),
    "EXIF that ends before it begins": (jpeg(before=segment(0xE1, b"Exif\0\0")), Facts("jpg", 80, 80)),
    "the largest segment there is": (jpeg(before=segment(0xE1, b"Exif\0\0" + bytes(65_527))), Facts("jpg", 80, 80)),
    "two hundred of the largest segments": (jpeg(before=segment(0xE1, bytes(65_533)) * 200), Facts("jpg", 80, 80)),
    "a thousand colour profiles": (jpeg(before=segment(0xE2, b"ICC_PROFILE\0\x01\xff") * 1_000), Facts("jpg", 80, 80)),
    "CMYK": (jpeg(sampling=(0x11,) * 4, scan=bytes(100), before=segment(0xEE, b"Adobe\0\x64\0\0\0\0\2")), Facts("jpg", 80, 80)),
    "progressive": (jpeg(process=0xC2), Facts("jpg", 80, 80)),
    "a million fill bytes": (jpeg(before=b"\xff" * 1_000_000), Facts("jpg", 80, 80)),
    "animated PNG": (png(before=chunk(b"acTL", bytes(8)) + chunk(b"fcTL", FRAME))[: -len(IEND)] + chunk(b"fdAT",
    b"\0\0\0\1x") + IEND,
                     Facts("png", 80, 80)),
    "PNG with a script in its text": (png(before=chunk(b"tEXt", b"Comment\0" + HTML)), Facts("png", 80, 80)),
    "PNG with a bomb in its text": (png(before=chunk(b"zTXt", b"Comment\0\0" + BOMB)), Facts("png", 80, 80)),
    "PNG with a bomb in its colour profile": (png(before=chunk(b"iCCP", b"p\0\0" + BOMB)), Facts("png", 80, 80)),
    "PNG with EXIF": (png(before=chunk(b"eXIf", b"II*\0\x08\0\0\0" * 9)), Facts("png", 80, 80)),
    "10,000 pixels wide": (png(10_000, 80), Facts("png", 10_000, 80)),
    "10,000 pixels high": (jpeg(80, 10_000), Facts("jpg", 80, 10_000)),
}  # fmt: skip

REFUSED = {
    "10,001 pixels": (png(10_001, 80), "too_many_pixels"), "10,001 pixels high": (jpeg(80, 10_001), "too_many_pixels"),
    "65,535 pixels": (jpeg(65_535, 65_535, scan=b"\0"), "too_many_pixels"), "no pixels": (jpeg(0, 80, scan=b"\0"), "too_small"),
    "no lines, which come later": (jpeg(80, 0, scan=b"\0"), "too_small"), "79 pixels": (png(79, 80), "too_small"),
    "PNG without pixels": (SIGNATURE + ihdr(0, 0) + chunk(b"IDAT") + IEND, "too_small"),
    "two billion pixels": (SIGNATURE + ihdr(0x7FFFFFFF, 0x7FFFFFFF) + chunk(b"IDAT") + IEND, "too_many_pixels"),
    "100 million pixels that are not there": (SIGNATURE + ihdr(10_000, 10_000, 16, 6) + chunk(b"IDAT", b"x") + IEND, "truncated"),
    "100 million pixels that are not there, as JPEG": (jpeg(10_000, 10_000, scan=b"\0" * 99), "truncated"),
    "a bomb in 80 x 80 pixels": (png(data=BOMB), "not_an_image"),
    "data of another size": (png(data=zlib.compress(rows(81, 80))), "not_an_image"),
    "data that are no zlib": (png(data=b"hello"), "not_an_image"), "data of nothing": (png(data=zlib.compress(b"")), "truncated"),
    "no data": (SIGNATURE + ihdr(80, 80) + IEND, "truncated"), "two sizes": (png(before=ihdr(9_000, 9_000)), "not_an_image"),
    "a size that is not the first": (SIGNATURE + chunk(b"tEXt", b"x") + png()[8:], "not_an_image"),
    "Apple's PNG": (SIGNATURE + chunk(b"CgBI", bytes(4)) + png()[8:], "not_an_image"),
    "a kind of interlacing that is none": (png(interlace=0).replace(ihdr(80, 80), ihdr(80, 80, 8, 2, 2)), "not_an_image"),
    "a kind of colour that is none": (png().replace(ihdr(80, 80), ihdr(80, 80, 8, 5)), "not_an_image"),
    "a wrong checksum": (png()[:-1] + b"\0", "not_an_image"),
    "a part without a name": (png(before=chunk(b"\0\0\0\0")), "not_an_image"),
    "a part of four billion bytes": (SIGNATURE + ihdr(80, 80) + b"\xff\xff\xff\xffIDAT" + bytes(9), "not_an_image"),
    "a part of two billion bytes": (SIGNATURE + ihdr(80, 80) + b"\x7f\xff\xff\xffIDAT" + bytes(9), "truncated"),
    "200,000 parts": (png(before=chunk(b"tEXt") * 200_000), "not_an_image"),
    "200,000 segments": (jpeg(before=segment(0xFE) * 200_000), "not_an_image"),
    "a segment of no length": (jpeg(before=b"\xff\xe1\0\0"), "not_an_image"),
    "a segment of one byte": (jpeg(before=b"\xff\xe1\0\1"), "not_an_image"),
    "a segment that goes on behind the end": (b"\xff\xd8\xff\xe1\xff\xff" + bytes(99), "truncated"),
    "JPEG that says its size twice": (jpeg(before=sof(90, 90)), "not_an_image"),
    "JPEG that begins twice": (jpeg(before=b"\xff\xd8"), "not_an_image"), "JPEG without end": (jpeg(end=b""), "truncated"),
    "JPEG of EXIF alone": (b"\xff\xd8" + exif() + b"\xff\xd9", "not_an_image"),
    "JPEG of nothing": (b"\xff\xd8\xff\xd9", "not_an_image"),
    "JPEG without a scan": (b"\xff\xd8" + sof(80, 80) + b"\xff\xd9", "not_an_image"),
    "JPEG without colours": (jpeg(sampling=(), scan=b"\0"), "not_an_image"),
    "JPEG of no sampling": (jpeg(sampling=(0,), scan=b"\0"), "not_an_image"),
    "JPEG's data before its size": (b"\xff\xd8" + segment(0xDA, bytes(6)) + bytes(99) + b"\xff\xd9", "not_an_image"),
    "JPEG with a gap": (jpeg(before=b"\0\0"), "not_an_image"),
    "JPEG-LS": (b"\xff\xd8" + segment(0xF7, bytes(9)) + b"\xff\xd9", "not_an_image"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "not_an_image"), "JPEG XL": (b"\xff\x0a" + bytes(90), "not_an_image"),
    "PNG's signature before a JPEG": (SIGNATURE + jpeg(), "not_an_image"),
    "JPEG's beginning before a PNG": (b"\xff\xd8" + png(), "not_an_image"),
    "GIF before a JPEG": (b"GIF89a" + jpeg(), "not_an_image"), "HTML before a PNG": (HTML + png(), "not_an_image"),
    "zip archive with an image in it": (b"PK\x03\x04" + jpeg(), "not_an_image"),
    "a line feed before a JPEG": (b"\n" + jpeg(), "not_an_image"),
    "PNG sent as text": (png().replace(b"\r\n", b"\n"), "not_an_image"),
    "image in base64": (base64.b64encode(png()), "not_an_image"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "not_an_image"),
    "a program": (b"MZ\x90\0", "not_an_image"),
    "another program": (b"\x7fELF\2\1\1", "not_an_image"), "a script": (b"#!/bin/sh\n", "not_an_image"),
    "NULs": (bytes(999), "not_an_image"),
    "ImageMagick's script": (b"push graphic-context\n", "not_an_image"), "an icon": (b"\0\0\1\0\1\0", "not_an_image"),
    "a film": (b"\0\0\0\x18ftypmp42", "not_an_image"), "MNG": (b"\x8aMNG\r\n\x1a\n", "not_an_image"),
    "one byte": (b"\x89", "truncated"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_taken_for_what_it_is(name):
    """P9: what is packed into an image or stands behind it is neither believed nor inflated."""
    data, facts = TAKEN[name]
    tracemalloc.start()
    try:
        assert images.check(data) == facts
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    """P9: with a code, and a reason that says what to do."""
    data, code = REFUSED[name]
    with pytest.raises(Refused) as caught:
        images.check(data)
    assert caught.value.code == code in contract.REFUSALS
    assert caught.value.reason.isprintable() and any(word in caught.value.reason for word in ("pload", "make it smaller"))


@given(st.sampled_from([png(), jpeg(), jpeg(process=0xC2), png(interlace=1)]), st.integers(0, 10**6), st.binary(max_size=4),
       st.integers(0, 9))  # fmt: skip
def test_mutated_images(data, at, put, cut):
    """P9: a PNG's checksums notice every change; a JPEG has a size within the limits, or is refused."""
    at %= len(data)
    mutated = data[:at] + put + data[at + cut :]
    try:
        facts = images.check(mutated)
    except Refused as refusal:
        code, reason = refusal.code, refusal.reason
    else:
        assert facts == Facts("png", 80, 80) if mutated.startswith(SIGNATURE) else facts.format == "jpg"
        assert all(images.MIN_SIDE <= side <= images.MAX_SIDE for side in (facts.width, facts.height))
        return
    assert code in contract.REFUSALS and reason.isprintable()


# --- requests --------------------------------------------------------------------------------------------------------

IMAGE = base64.b64encode(png()).decode()
UPLOAD = '"filename":"a.png","content_type":"image/png"'
BAD_BODIES = {
    "a size twice": f'{{{UPLOAD},"size":1,"size":2}}',
    "a name twice, once escaped": f'{{{UPLOAD},"size":1,"\\u0066ilename":"b.png"}}',
    "a size of 5,000 digits": f'{{{UPLOAD},"size":{"1" * 5_000}}}', "minus": f'{{{UPLOAD},"size":-{"1" * 5_000}}}',
    "a size with an exponent": f'{{{UPLOAD},"size":1e3}}', "a size in quotes": f'{{{UPLOAD},"size":"1000"}}',
    "a size that is no number": f'{{{UPLOAD},"size":NaN}}', "an endless size": f'{{{UPLOAD},"size":Infinity}}',
    "wide digits": f'{{{UPLOAD},"size":１}}', "something else": f'{{{UPLOAD},"size":1,"__proto__":{{}}}}',
    "nested 100,000 deep": '{"filename":' * 100_000, "an array nested 100,000 deep": f'{{{UPLOAD},"size":{"[" * 100_000}',
    "an object in an array": f'[{{{UPLOAD},"size":1}}]', "two objects": f'{{{UPLOAD},"size":1}}{{}}',
    "a comma too many": f'{{{UPLOAD},"size":1,}}',
    "a form": "filename=a.png&size=1", "XML": "<filename>a.png</filename>", "byte-order mark": f'\ufeff{{{UPLOAD},"size":1}}',
    "data URL": f'{{{UPLOAD},"image":"data:image/png;base64,{IMAGE}"}}',
    "line breaks": f'{{{UPLOAD},"image":"{IMAGE[:76]}\\r\\n{IMAGE[76:]}"}}',
    "a space behind": f'{{{UPLOAD},"image":"{IMAGE} "}}', "the alphabet of URLs": f'{{{UPLOAD},"image":"-_-_"}}',
    "no padding": f'{{{UPLOAD},"image":"AA"}}',
    "padding inside": f'{{{UPLOAD},"image":"AA==AAAA"}}',
    "hexadecimal": f'{{{UPLOAD},"image":"89504e47x"}}', "zero-width space": f'{{{UPLOAD},"image":"AAAA\\u200b"}}',
    "half a pair": f'{{{UPLOAD},"image":"\\ud800"}}',
    "wide letters": f'{{{UPLOAD},"image":"ＡＡＡＡ"}}', "too large": f'{{{UPLOAD},"image":"{"A" * 4_000_004}"}}',
    "a type with a parameter": '{"filename":"a.png","content_type":"image/png; x","size":1}',
    "SVG": '{"filename":"a","content_type":"image/svg+xml","size":1}',
    "a header in the type": '{"filename":"a","content_type":"image/png\\r\\nX: y","size":1}',
    **{f"file name {name!a}": json.dumps({"filename": name, "content_type": "image/png", "size": 1}) for name in (
        "../a.png", "a/../b.png", "/etc/passwd", "a\r\nX: y", "a\0.png", "dog\u202egnp.exe", "\u2066a.png", "..", "${filename}",
        "a\u2028b", "\x1b[2J")},
}  # fmt: skip
GOOD_BODIES = {
    "a byte": (f'{{{UPLOAD},"size":1}}', "a.png"), "15 MB": (f'{{{UPLOAD},"size":15000000}}', "a.png"),
    "base64": (f'{{{UPLOAD},"image":"{IMAGE}"}}', "a.png"),
    **{f"file name {name!a}": (json.dumps({"filename": name, "content_type": "image/png", "size": 1}), name) for name in (
        "a b.png", "Ünï.png", "😀.png", "a.png.exe", "%2e%2e%2fa", "-rf", "CON", "a\\b.png", "'; DROP TABLE--",
        "<img src=x>.png", "שלום.png", "cafe\u0301.png")},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies(aws, name):
    """P1a, P1b: 400, with a sentence; nothing is stored or signed."""
    status, error, _ = request("POST", "/upload", BAD_BODIES[name])
    assert (status, error["code"]) == (400, "invalid_request")
    assert len(error["message"].split()) >= 4 and error["message"].isprintable() and aws.s3.calls == []


def test_reason_is_the_right_one(aws):
    """P1a: a size of thousands of digits is JSON, and too large; what comes twice is told as that."""
    assert "size must be" in request("POST", "/upload", BAD_BODIES["a size of 5,000 digits"])[1]["message"]
    assert "twice" in request("POST", "/upload", BAD_BODIES["a size twice"])[1]["message"]


@pytest.mark.parametrize("name", GOOD_BODIES)
def test_good_bodies(name):
    """P1b: names of files are kept as they are."""
    body, file_name = GOOD_BODIES[name]
    assert requests.upload(body, 15_000_000).file_name == file_name


ODD_IDS = [" ", ID.upper(), " " + ID, ID[:-1], ID + "0", ID.replace("-", ""), f"{{{ID}}}", ID.replace("1", "１"),
"..", "%00", "\0", "' OR 1=1",
           '{"$ne":1}', "x" * 10_000, "\u202e" + ID, ID.replace("1", "\u0661"), "null", "__proto__"]  # fmt: skip


@pytest.mark.parametrize("image_id", ODD_IDS, ids=lambda image_id: ascii(image_id[:50]))
def test_ids_that_are_none(aws, image_id):
    """P1a: 404 without a look into the table."""
    status, error, _ = request("GET", f"/images/{image_id}")
    assert status == 404 and error["code"] in ("image_not_found", "no_such_endpoint") and aws.dynamodb.calls == []


@pytest.mark.parametrize("name, value", [
    *(("limit", value) for value in ("0", "101", "-1", "+1", "1.0", "1e1", "0x1", "１", "\u0661", "", " 5", "5\n", "9" * 5_000,
    "NaN")),
    *(("animal", value) for value in ("", "Cat", "cat ", "cat\0", "bird", "cat,dog", "ｃat", "' OR 1=1")),
    *(("cursor", value) for value in ("x", "%%", "AAAA", "e30=", base64.b64encode(b'{"a":' * 9_999).decode(), "\ud800",
    "x" * 100_000)),
    ("order", "x"), ("__proto__", "x"), ("Limit", "5"),
], ids=lambda text: ascii(text[:40]))  # fmt: skip
def test_queries_that_are_refused(aws, name, value):
    """P1a: 400, with a sentence."""
    status, error, _ = request("GET", "/images", query={name: [value]})
    assert status == 400 and error["code"] in ("invalid_request", "invalid_cursor")
    assert len(error["message"].split()) >= 3 and error["message"].isprintable()
