"""The API over HTTP: its endpoints, what they answer, and the endpoints that control the emulator itself."""
