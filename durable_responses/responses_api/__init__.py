"""The OpenAI Responses API as plain Python: models, events, errors, HTTP client. Knows nothing about Temporal."""
