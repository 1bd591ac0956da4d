"""Several files, or several objects, that appear together or not at all."""
