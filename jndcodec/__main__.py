"""`python -m jndcodec`."""

from jndcodec.cli import main

if __name__ == "__main__":
    main()
