"""`jndcodec info`: what a .jlc file says, without decoding it and without torch."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from jndcodec.cli.paths import read_jlc
from jndcodec.cli.report import json_option, kilobytes, report_error
from jndcodec.cli.screen import Command
from jndcodec.container.jlc import VERSION, Section, parse
from jndcodec.errors import JndcodecError
from jndcodec.installed import find_by_id


@click.command(
    cls=Command,
    short_help="Show what is in .jlc files.",
    examples=("jndcodec info photo.png.jlc", "jndcodec info --json small/a.png.jlc small/b.png.jlc"),
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@json_option
def info(files: tuple[str, ...], as_json: bool) -> None:
    """Show what is in .jlc files: size, rate, sections, the model they need and whether it is installed.

    FILE may be - for standard input. The checksum of the file is tested; nothing is decoded.
    """
    first: JndcodecError | None = None
    for name in files:
        try:
            facts = {"input": name, **read_facts(read_jlc(name))}
            click.echo(json.dumps(facts) if as_json else _table(facts))
        except JndcodecError as error:
            first = first or error
            report_error(name, error, as_json)
    if first:
        sys.exit(first.exit_code)


def read_facts(data: bytes) -> dict[str, Any]:
    """Everything that the bytes of a .jlc file say, ready for JSON. Raises FormatError, VersionError."""
    jlc = parse(data)
    model = None if jlc.lossless else find_by_id(jlc.model_id)
    sections = {_section_name(kind): len(payload) for kind, payload in jlc.sections.items()}
    return {
        "version": VERSION,
        "width": jlc.width,
        "height": jlc.height,
        "grey": jlc.grey,
        "lossless": jlc.lossless,
        "alpha": jlc.alpha,
        "bytes": len(data),
        "bpp": 8 * len(data) / (jlc.width * jlc.height),
        "quality": jlc.t / 655.35 if jlc.exact and not jlc.lossless else None,  # zoo models have one rate
        "t": jlc.t,
        "model_id": None if jlc.lossless else jlc.model_id.hex(),
        "model": model.name if model else None,
        "installed": model is not None,
        "entropy": "exact" if jlc.exact else "float",
        "symbols_crc": f"{jlc.symbols_crc:08x}",
        "sections": sections,
        "overhead": len(data) - sum(sections.values()),
    }


def _section_name(kind: int) -> str:
    try:
        return Section(kind).name.lower()
    except ValueError:  # optional sections of later versions
        return f"unknown {kind:#04x}"


def _table(facts: dict[str, Any]) -> str:
    channels = ("grey" if facts["grey"] else "RGB") + (" with alpha" if facts["alpha"] else "")
    sections = ", ".join(f"{name} {size}" for name, size in facts["sections"].items())
    if facts["lossless"]:
        coding = {"quality": "lossless: the very pixels", "model": "none needed"}
    else:
        exact = facts["entropy"] == "exact"
        coding = {
            "quality": f"{facts['quality']:.1f} of 100 (t = {facts['t']} of 65535)"
            if exact
            else "the one of its model",
            "model": f"{facts['model']}, installed"
            if facts["installed"]
            else "not installed: decode with --weights FILE",
            "model id": facts["model_id"],
            "entropy": "exact: same symbols on every machine" if exact else "float: decode it where it was made",
            "symbols": f"CRC-32 {facts['symbols_crc']}",
        }
    rows = {
        "picture": f"{facts['width']} x {facts['height']}, {channels}",
        "size": f"{facts['bytes']} bytes ({kilobytes(facts['bytes'])}), {facts['bpp']:.3f} bits per pixel",
        **coding,
        "sections": f"{sections}, header and checksums {facts['overhead']} (bytes)",
        "format": f"version {facts['version']}",
    }
    return "\n".join([facts["input"], *(f"  {name:<9} {value}" for name, value in rows.items())])
