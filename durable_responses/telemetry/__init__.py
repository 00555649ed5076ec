"""What is told of agent runs, and to whom: traces and metrics by OTLP, and the ids in every log line.

It watches from outside, as interceptors of Temporal's SDK: no workflow, activity or tool knows of it. Names are those
of the GenAI semantic conventions (https://opentelemetry.io/docs/specs/semconv/gen-ai/) where they have one.
"""
