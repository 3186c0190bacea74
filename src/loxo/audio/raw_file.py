"""The base of files that are computed or fetched: reading at any position, for decoders."""

from __future__ import annotations

import io


class RawFile(io.RawIOBase):
    """A file for reading at any position. A subclass defines `_size` and `readinto`, which moves `_position`."""

    _position = 0

    @property
    def _size(self) -> int:
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position
