"""Millions of pictures: stages for Ray Data's `map_batches`, and whole jobs on top of them (docs/BULK.md)."""

from jndcodec.bulk.stages import Decode, Encode

__all__ = ["Decode", "Encode"]
