"""The memory of a worker does not depend on how much it converts (E12). Each measurement is a process of its own."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MIB = 1 << 20
LEEWAY = 24 * MIB
"""Less than the difference between any two sizes below, so that a worker that holds its range or its part is found out."""


class EndlessS3:
    """One file of any size and a place for parts; holds neither."""

    HEADER = b"transaction_id,customer_id,amount,timestamp,note\n"
    BLOCK = (b"t,c,$1,03/05/2024," + b"x" * 1000 + b"\n") * 9999

    def get_object(self, Range, **_):
        start, end = (int(number) for number in Range.removeprefix("bytes=").split("-"))
        if start == 0:
            return {"Body": self._body((self.HEADER + self.BLOCK)[: end + 1])}
        skipped = (start - len(self.HEADER)) % len(self.BLOCK)
        times = (end - start) // len(self.BLOCK) + 2
        return {"Body": self._body((self.BLOCK * times)[skipped : skipped + end + 1 - start])}

    def upload_part(self, Body, **_):
        while not isinstance(Body, bytes) and Body.read(MIB):
            pass
        return {"ETag": "e"}

    def create_multipart_upload(self, **_):
        return {"UploadId": "u"}

    def list_objects_v2(self, **_):
        return {"KeyCount": 0}

    def head_object(self, **_):
        from fake_s3 import client_error

        raise client_error("404")

    def complete_multipart_upload(self, **_):
        pass

    @staticmethod
    def _body(data):
        import io

        return io.BytesIO(data)


def convert(action, megabytes):
    """The action of the transformation function on a file, or a range, of this size; returns the rows that it wrote."""
    from calls import CONTEXT

    from lambdas.etl import storage, transformation

    storage.client = lambda service: EndlessS3()
    start, size = len(EndlessS3.HEADER), megabytes * MIB
    end = start + size // len(EndlessS3.BLOCK) * len(EndlessS3.BLOCK)
    file = {"bucket": "b", "key": "raw/a", "file_name": "a", "version_id": "v", "sequencer": "0", "size": end}
    event = {"action": action, "file": file, "execution_name": "e", "upload_id": "u", "header_length": start}
    event["range"] = {"index": 1, "start": start if action == "convert_range" else 0, "end": end}
    return transformation.handler(event, CONTEXT)["rows_written"]


def peak(action, megabytes):
    """The most memory that a process took for this action, in bytes."""
    done = subprocess.run([sys.executable, __file__, action, str(megabytes)], capture_output=True, text=True, check=True)
    written, most = map(int, done.stdout.split()[-2:])
    assert written > megabytes * 900
    return most


@pytest.mark.parametrize("action", ["convert_range", "convert"])
def test_memory_does_not_grow_with_the_size(action):
    """E12: four times as much takes the same memory: a block ahead, a window, a part of 8 MiB; the range's part is in a file."""
    small, large = (peak(action, megabytes) for megabytes in (64, 256))
    assert large - small < LEEWAY, f"{small / MIB:.0f} MiB for 64 MiB, {large / MIB:.0f} MiB for 256 MiB"


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    import os

    from calls import ENVIRONMENT

    os.environ |= ENVIRONMENT | {"MAX_PIECE_BYTES": str(1 << 30)}
    rows_written = convert(sys.argv[1], int(sys.argv[2]))
    unit = 1 if sys.platform == "darwin" else 1024
    print(rows_written, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
