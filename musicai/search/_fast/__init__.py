"""Fast searches, a closed box: tests hold each to the readable definition of the same name beside it. Chapter 6."""
