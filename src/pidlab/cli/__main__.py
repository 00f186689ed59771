"""`python -m pidlab.cli` is `pidlab`."""

from pidlab.cli import main

if __name__ == "__main__":
    main()
