"""Notifications: a person hears of what matters, once, and trouble with telling never reaches the job."""
