"""The scripted model: scenarios, the conversation it is shown, and what a script sends and when."""
