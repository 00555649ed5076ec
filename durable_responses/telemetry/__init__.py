"""Telemetry of agent runs: traces and metrics by OTLP, and the ids in every log line.

It watches from outside, as interceptors of Temporal's SDK: no workflow, activity or tool knows about it. Names are
those of the GenAI semantic conventions (https://opentelemetry.io/docs/specs/semconv/gen-ai/) where they have one.
"""
