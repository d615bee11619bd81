"""jndcodec: a learned image codec with real bitstreams and its quality in JND units.

data = jndcodec.encode("photo.png", jnd=1.0)
image = jndcodec.decode(data)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jndcodec.errors import JndcodecError

if TYPE_CHECKING:
    from jndcodec.codec import Codec, decode, encode

__version__ = "0.1.0"
__all__ = ["Codec", "JndcodecError", "__version__", "decode", "encode"]


def __getattr__(name: str) -> Any:
    """Import the codec, and with it torch, when it is first used."""
    if name in ("Codec", "decode", "encode"):
        from jndcodec import codec

        return getattr(codec, name)
    raise AttributeError(f"module 'jndcodec' has no attribute {name!r}")
