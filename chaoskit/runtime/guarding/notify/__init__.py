"""Notifications: a person is told of what matters, once, and trouble with telling never reaches the job."""
