"""The dashboard: what ``chaoskit recovery`` says, as one page for a browser on the same machine."""
