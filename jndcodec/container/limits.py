"""Pillow's limits on pictures and texts, while our own hold."""

from __future__ import annotations

import threading

from PIL import Image, PngImagePlugin

from jndcodec.container.jlc import MAX_METADATA


class _PillowLimits:
    """Pillow's limits are global. While any thread reads a picture, ours are checked instead."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._readers == 0:
                self._pixels = Image.MAX_IMAGE_PIXELS
                self._text = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
                Image.MAX_IMAGE_PIXELS = None
                PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = MAX_METADATA, 4 * MAX_METADATA
            self._readers += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                Image.MAX_IMAGE_PIXELS = self._pixels
                PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = self._text


pillow_limits = _PillowLimits()
