"""What travels: bodies of requests and answers, errors, and JSON values. Imports nothing else of the emulator."""
