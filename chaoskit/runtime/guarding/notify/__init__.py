"""Notifications: a person hears of what matters, once, and the job never hears of the trouble with it."""
