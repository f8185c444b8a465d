"""Images are checked by content (P9): JPEG or PNG, whole, within Rekognition's limits, and no bombs."""

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import CHANNELS, SIGNATURE, chunk, ihdr, jpeg, png, rows, segment, sof

from lambdas.pets import contract, images
from lambdas.pets.images import Facts, Refused


def refusal(data):
    with pytest.raises(Refused) as caught:
        images.check(data)
    assert caught.value.code in contract.REFUSALS
    return caught.value.code, caught.value.reason


# --- size ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "code"), [(0, "empty"), (1_000_001, "too_large")])
def test_sizes_that_are_refused(size, code):
    """P9: before anything is read."""
    with pytest.raises(Refused) as caught:
        images.check_size(size, 1_000_000)
    assert caught.value.code == code
    assert f"{size:,} bytes" in caught.value.reason


def test_sizes_that_are_fine():
    """P9: the limit itself is allowed."""
    assert images.check_size(1, 1_000_000) is images.check_size(1_000_000, 1_000_000) is None


# --- what else it may be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"Dear dog,\n", "neither JPEG nor PNG:"),
        (b"GIF89a" + bytes(90), "but a GIF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "but a WebP"),
        (b"\0\0\0\x18ftypheic" + bytes(90), "but a HEIC or AVIF"),
        (b"MM\0*" + bytes(90), "but a TIFF"),
        (b"%PDF-1.7\n", "but a PDF"),
        (b"<html>" + jpeg(), "neither JPEG nor PNG:"),
    ],
)
def test_other_files(data, says):
    """P9: a text renamed .jpg is refused, and a person learns what it is."""
    code, reason = refusal(data)
    assert code == "not_an_image" and says in reason


STARTS = [b"", SIGNATURE, SIGNATURE + ihdr(80, 80), b"\xff\xd8", b"\xff\xd8" + sof(80, 80)]


@given(st.binary(max_size=300), st.sampled_from(STARTS))
def test_any_bytes(data, start):
    """P9: whatever comes, it is an image or a refusal."""
    try:
        assert isinstance(images.check(start + data), Facts)
    except Refused:
        refusal(start + data)  # with a code that is known


# --- PNG -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(
    ("colour", "depth"),
    [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)],
)
def test_png_of_every_kind(colour, depth, interlace):
    """P9: bit depths, colours, interlacing."""
    assert images.check(png(83, 101, depth, colour, interlace)) == Facts("png", 83, 101)


@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
def test_png_in_pieces(pieces):
    """P9: an image's data may be cut anywhere."""
    assert images.check(png(pieces=pieces, before=chunk(b"tEXt", b"a\0b"))) == Facts("png", 80, 80)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_png_whose_data_outgrow_the_buffers(level):
    """P9: several megabytes, of which each piece inflates to more than is taken at a time."""
    assert images.check(png(1500, 1500, data=zlib.compress(rows(1500, 1500), level))) == Facts("png", 1500, 1500)


@given(st.data())
def test_cut_png(data):
    """P9: wherever it is cut."""
    whole = png()
    cut = data.draw(st.integers(1, len(whole) - 1))
    assert refusal(whole[:cut])[0] == "truncated"


@given(st.data())
def test_damaged_png(data):
    """P9: any change of any byte is noticed."""
    whole = bytearray(png())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    refusal(bytes(whole))


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE + chunk(b"IEND"),
        SIGNATURE + chunk(b"IDAT") + ihdr(80, 80),
        SIGNATURE + chunk(b"IHDR", bytes(12)),
        png(depth=3, colour=0),
        png(80, 80, 8, 2).replace(ihdr(80, 80), ihdr(80, 80, colour=5)),
        SIGNATURE + ihdr(80, 80, interlace=2) + chunk(b"IEND"),
        png(data=b"no zlib data"),
        png(data=zlib.compress(rows(80, 80))[:-4] + bytes(4)),
        png(before=chunk(b"tE\0t")),
        png(before=chunk(b"aaAa") * (images._MAX_PARTS + 1)),
    ],
)
def test_png_that_cannot_be(data):
    """P9."""
    assert refusal(data)[0] == "not_an_image"


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE + ihdr(80, 80) + chunk(b"IEND"),
        png(data=zlib.compress(rows(80, 79))),
        png(data=zlib.compress(rows(80, 80))[:-5]),
    ],
)
def test_png_with_too_few_data(data):
    """P9: well-formed chunks do not make a whole picture."""
    assert refusal(data)[0] == "truncated"


def test_png_that_claims_more_than_it_can_hold():
    """P9: a bomb for whoever allocates what the header says; refused without inflating a byte."""
    assert refusal(SIGNATURE + ihdr(10_000, 10_000, 16, 6) + chunk(b"IDAT", bytes(100)) + chunk(b"IEND"))[0] == "truncated"


def test_png_that_inflates_to_more_than_its_pixels():
    """P9: a bomb for whoever inflates to the end; hardly more than the pixels need is inflated, and little at a time."""
    squeezer = zlib.compressobj(9)
    bomb = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(200)) + squeezer.flush()
    data = png(data=bomb)
    tracemalloc.start()
    code, reason = refusal(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == "not_an_image" and "more data than its pixels need" in reason
    assert peak < 8 << 20


def test_rows_are_drawn_as_checked():
    """Else the tests above would prove nothing: a known count, 3 bytes a pixel and one a row."""
    assert len(rows(80, 80)) == 80 * (80 * CHANNELS[2] + 1)


# --- JPEG ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg(before=segment(0xE1, b"Exif\0\0" + jpeg(160, 120))),  # a preview in its metadata
        jpeg(before=segment(0xFE) + b"\xff\xff\xff" + segment(0xE0, b"JFIF\0")[1:]),
        jpeg(scan=b"\x11\xff\0\x22\xff\xd0\x33" + bytes(30)),
        jpeg(scan=bytes(30) + b"\xff\xff"),  # fill bytes before the end
        jpeg(80, 80, 0xC2, scan=bytes(13) + segment(0xC4, b"x") + segment(0xDA, b"y") + b"\x11"),
        jpeg(sampling=(0x22, 0x11, 0x11), scan=bytes(38)),
        jpeg() + bytes(5),
        jpeg() + jpeg() + b"film" * 1000,
    ],
)
def test_jpeg(data):
    """P9: previews, fill bytes, restarts, several scans, and whatever phones append."""
    assert images.check(data) == Facts("jpg", 80, 80)


@given(st.data())
def test_cut_jpeg(data):
    """P9: wherever it is cut."""
    whole = jpeg(before=segment(0xE1, b"Exif\0\0" + jpeg()))
    assert refusal(whole[: data.draw(st.integers(1, len(whole) - 1))])[0] == "truncated"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + sof(80, 80) + b"\xff\xd9",
        jpeg(before=b"x"),
        jpeg(before=b"\xff\0"),
        jpeg(before=b"\xff\xd8"),
        jpeg(before=sof(80, 80)),
        jpeg(before=b"\xff\xe0\0\1"),
        jpeg(before=segment(0xDA, b"x") + b"\x11"),
        jpeg(sampling=()),
        jpeg(sampling=(0x50,)),
        jpeg(before=b"\xff\xd0" * (images._MAX_PARTS + 1)),
    ],
)
def test_jpeg_that_cannot_be(data):
    """P9."""
    assert refusal(data)[0] == "not_an_image"


@pytest.mark.parametrize(
    "data", [jpeg(scan=bytes(24)), jpeg(10_000, 10_000, scan=bytes(1000)), jpeg(sampling=(0x22, 0x11, 0x11), scan=bytes(37))]
)
def test_jpeg_with_too_few_data(data):
    """P9: cut off and ended properly, or a bomb: no picture of that size can be so short."""
    assert refusal(data)[0] == "truncated"


# --- pixels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [png, jpeg])
@pytest.mark.parametrize(
    ("width", "height", "code"),
    [
        (79, 80, "too_small"), (80, 79, "too_small"), (0, 80, "too_small"), (80, 0, "too_small"), (1, 20_000, "too_small"),
        (10_001, 80, "too_many_pixels"), (80, 10_001, "too_many_pixels"),
    ],
)  # fmt: skip
def test_sides_that_are_refused(draw, width, height, code):
    """P9: Rekognition's limits, both sides."""
    found, reason = refusal(draw(width, height))
    assert found == code and f"{width:,} x {height:,} pixels" in reason


@pytest.mark.parametrize("draw", [png, jpeg])
@pytest.mark.parametrize(("width", "height"), [(80, 80), (10_000, 80), (80, 10_000)])
def test_sides_that_are_fine(draw, width, height):
    """P9: the limits themselves are allowed."""
    facts = images.check(draw(width, height))
    assert (facts.width, facts.height) == (width, height)
