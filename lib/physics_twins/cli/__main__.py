"""The command `twins` as `python -m physics_twins.cli`."""

from physics_twins.cli import main

if __name__ == "__main__":
    main()
