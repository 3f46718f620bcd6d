"""What makes `MelodyIndex` fast and small, a closed box: the file and the compiled search for candidates.

Tests hold it to the readable definitions in `musicai.search`. Chapter 6.
"""
