"""The commands, one file each: `run(args)` does it and returns the exit status."""
