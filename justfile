# `just` lists these; .ci/run runs them all. Needs: pip install -e '.[test,eval,ray,dev]'

_list:
    @just --list

# Style
lint:
    ruff check .
    ruff format --check .

# Types, and which folder may import which
types:
    mypy
    lint-imports

# Tests, or some of them: just test tests/test_codec.py
test *ARGS:
    pytest {{ ARGS }}

# Write docs/CLI.md and the man page anew from --help
docs:
    JNDCODEC_WRITE_DOCS=1 pytest tests/test_cli_docs.py
    pytest tests/test_docs_commands.py

# Build sdist and wheel, and run the wheel from an empty folder
package:
    .ci/package

# No weights but those that ship; with a base (just weights main), in the history since then too
weights *BASE:
    python .ci/weights {{ BASE }}
