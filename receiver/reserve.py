"""Room for files that are mapped into memory: the first touch of a byte that a full disk cannot hold kills the process."""

from __future__ import annotations

import errno
import os


def reserve(descriptor: int, size: int) -> None:
    """See to it that the disk holds so many bytes of a file; what is in it stays. Raises OSError where there is no room."""
    found = os.fstat(descriptor)
    if found.st_size >= size and found.st_blocks:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
        else:
            return
    if found.st_size < size:
        os.pwrite(descriptor, bytes(size - found.st_size), found.st_size)
