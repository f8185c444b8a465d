"""Files for the end-to-end tests."""

HEADER = b"transaction_id,customer_id,amount,timestamp\n"


def rows(count: int, *, bad: int = 0) -> bytes:
    """A good file of `count` rows, the last `bad` of which have an amount that is none."""
    good = (b"T%d,C1,%d.50,2024-03-05T10:11:12Z\n" % (number, number) for number in range(count - bad))
    return HEADER + b"".join(good) + b"".join(b"T%d,C1,none,2024-03-05T10:11:12Z\n" % number for number in range(bad))


def large(megabytes: int) -> bytes:
    """A good file of about this size, already in canonical form: its output is the same bytes."""
    block = b"".join(b"T%07d,C00001,1234.50,2024-03-05T10:11:12Z,%s\n" % (number, b"x" * 40) for number in range(10_000))
    return HEADER.replace(b"\n", b",note\n") + block * (megabytes * 2**20 // len(block) + 1)
