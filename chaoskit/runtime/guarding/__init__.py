"""What keeps bad input and scarce resources from doing harm: archives, text, limits."""
