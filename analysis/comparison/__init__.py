"""Methods compared at one step: their values and errors, the tests of differences, and what these can tell."""
