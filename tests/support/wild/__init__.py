"""Generated programs of raw system calls, and whether they end the same watched and unwatched.

``programs`` says what a program is and draws one from a seed; ``playing`` carries it out; ``comparing``
plays it bare, recorded and as a case, and says what differs; ``reducing`` makes a program that differs short;
``caging`` keeps all of it away from the machine that it runs on. ``python -m wild --help`` runs them by hand.
"""
