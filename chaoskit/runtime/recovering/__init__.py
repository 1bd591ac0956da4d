"""What is done about failures: strategies by kind, run folders that are marked, runs on other machines."""
