"""`python -m loxo`: the command."""

from loxo.cli import main

if __name__ == "__main__":
    main()
