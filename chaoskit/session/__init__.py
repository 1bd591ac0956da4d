"""One scenario: the object ``chaos``, the decorator, and the building of an exploration."""
