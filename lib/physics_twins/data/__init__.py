"""Arrays with units on disk, numbers in print, files written whole, the project's folder."""
