"""What the emulator remembers: responses, their lifecycles, the bill, the state file and the clock."""
