"""Help screens: examples before the options, and options in sections."""

from __future__ import annotations

from typing import Any

import click

EXAMPLES, OPTIONS = "Examples", "Options"


class Command(click.Command):
    """A command whose screen has examples, each a command line, and whose options stand in sections.

    sections: a heading and the names of the parameters under it; all others stand under "Options".
    """

    def __init__(
        self, *args: Any, examples: tuple[str, ...], sections: dict[str, tuple[str, ...]] | None = None, **rest: Any
    ) -> None:
        super().__init__(*args, **rest)
        self.examples, self.sections = examples, sections or {}

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        _write_examples(self.examples, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        place = {name: heading for heading, names in self.sections.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*self.sections, OPTIONS)}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                rows[place.get(param.name or "", OPTIONS)].append(record)
        for heading, records in rows.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class Group(click.Group):
    """A group of commands whose screen has examples."""

    def __init__(self, *args: Any, examples: tuple[str, ...], **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.examples = examples

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        _write_examples(self.examples, formatter)


def _write_examples(examples: tuple[str, ...], formatter: click.HelpFormatter) -> None:
    """As they are typed, one a line."""
    with formatter.section(EXAMPLES):
        for line in examples:
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")
