"""The commands; every heavy import is inside a function, so that --help answers at once."""
