"""From files to the cached data set: the published ones, and anyone's own."""
