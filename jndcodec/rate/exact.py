"""The lossless file of a picture, made no further than the question needs: is it the smaller one?

A photo takes six and more times the bytes lossless, and that shows on a few tiles in milliseconds; text and drawings
often take fewer than a model does. So it is guessed, then coded quickly, and coded well where the bytes are close.
"""

from __future__ import annotations

import functools

import numpy as np

from jndcodec.container.jlc import NO_MODEL, Flags, Jlc, Section, parse
from jndcodec.container.lossless import pack_lossless, unpack_lossless
from jndcodec.container.sections import WEBP_MAX_SIDE
from jndcodec.errors import SymbolError

TILE = 64  # pixels on a side
TILES = 3  # along each side
GUESS_MARGIN = 4.0  # times too many bytes on tiles, which share no statistics with the rest
MARGIN = 2.0  # times as many bytes by a quicker coding: smooth gradients gain most from a thorough one
# libwebp's method and quality. None of the usual ones is the best for all drawings; all of them take 0.3 s a megapixel.
QUICK, USUAL, THOROUGH = (1, 20), ((6, 75), (4, 100), (6, 90)), (6, 100)
# Thorough coding takes 1 to 5 s for 3 % fewer bytes: from effort 7 on, and from effort 3 on for
SMALL = 1 << 18  # pixels at most, and
DRAWING = 3.0  # bits per pixel at most


class ExactFile:
    """The lossless .jlc file of a picture, coded when asked for."""

    def __init__(
        self,
        rgb: np.ndarray,
        alpha: np.ndarray | None,
        grey: bool,
        metadata: dict[int, bytes],
        effort: int,
        keep_hidden: bool = False,
    ) -> None:
        """rgb: uint8 (H, W, 3); alpha: uint8 (H, W); metadata: its sections; effort: 1 … 9, as of the models.
        keep_hidden: colours under alpha 0 too, which are free else."""
        self._rgb, self._alpha, self._grey = rgb, alpha, grey
        self._metadata, self._keep_hidden = metadata, keep_hidden
        self._effort = effort
        self._made: dict[tuple[int, int] | None, bytes] = {}

    @functools.cached_property
    def data(self) -> bytes:
        """The whole file, as small as the effort allows."""
        return min(self._usual, self._file(*THOROUGH), key=len) if self._thorough else self._usual

    @functools.cached_property
    def _thorough(self) -> bool:
        pixels = self._rgb[..., 0].size
        small = pixels <= SMALL and 8 * len(self._usual) <= DRAWING * pixels
        return self._effort >= 7 or (self._effort >= 3 and small)

    def at_most(self, size: int) -> bytes | None:
        """The file, or None where it does not reach that."""
        return self.data if self.reaches(size) else None

    def reaches(self, size: int) -> bool:
        """Whether the file takes at most `size` bytes; no further coded where a quicker way leaves little doubt."""
        return (
            self.guess <= GUESS_MARGIN * size
            and len(self._file(*QUICK)) <= MARGIN * size
            and len(self._usual) <= (MARGIN if self._thorough else 1) * size
            and len(self.data) <= size
        )

    @functools.cached_property
    def guess(self) -> float:
        """Bytes as they are expected from a few tiles coded quickly, too many rather than too few."""
        height, width = self._rgb.shape[:2]
        if height * width <= (TILE * TILES) ** 2:
            return len(self._coded(slice(None), slice(None), *QUICK))
        rows, columns = (np.concatenate(_lattice(side)) for side in (height, width))
        down, across = np.ix_(rows, columns)
        return len(self._coded(down, across, *QUICK)) * height * width / (len(rows) * len(columns))

    @functools.cached_property
    def _usual(self) -> bytes:
        return min((self._file(*level) for level in (USUAL if self._effort >= 3 else USUAL[:1])), key=len)

    def check(self) -> None:
        """SymbolError if the file does not decode to the picture; colours that nobody sees may differ."""
        rgb, alpha = unpack_lossless(parse(self.data).sections[Section.LOSSLESS], self._rgb.shape[:2])  # type: ignore[arg-type]
        same = alpha is None if self._alpha is None else alpha is not None and np.array_equal(alpha, self._alpha)
        seen = np.ones_like(rgb[..., 0], bool) if self._alpha is None or self._keep_hidden else self._alpha > 0
        if not same or not np.array_equal(rgb[seen], self._rgb[seen]):
            raise SymbolError("the lossless file does not decode to the picture: please report it with the picture")

    def _coded(self, rows: slice, columns: slice, method: int, quality: int) -> bytes:
        alpha = None if self._alpha is None else self._alpha[rows, columns]
        return pack_lossless(
            self._rgb[rows, columns], alpha, method=method, quality=quality, keep_hidden=self._keep_hidden
        )

    def _file(self, method: int, quality: int) -> bytes:
        height, width = self._rgb.shape[:2]
        level = None if max(height, width) > WEBP_MAX_SIDE else (method, quality)  # there is one way to make a PNG
        if level in self._made:
            return self._made[level]
        flags = Flags.LOSSLESS | (Flags.GREY if self._grey else Flags.NONE)
        payload = self._coded(slice(None), slice(None), method, quality)
        jlc = Jlc(NO_MODEL, width, height, 0, 0, flags, {Section.LOSSLESS: payload, **self._metadata})
        return self._made.setdefault(level, jlc.pack())


def _lattice(side: int) -> list[np.ndarray]:
    """Where up to TILES pieces of TILE pixels lie along a side, in the middle of equal parts."""
    count = min(TILES, max(1, side // TILE))
    part, length = side / count, min(TILE, side)
    return [np.arange(length) + int(part * (i + 0.5) - length / 2) for i in range(count)]
