"""``python -m timewire`` is ``timewire``."""

from timewire.cli import main

if __name__ == "__main__":
    main()
