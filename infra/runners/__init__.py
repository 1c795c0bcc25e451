"""Sets up the engines beyond the in-process one: `python -m infra.runners`, or `make runners`."""
