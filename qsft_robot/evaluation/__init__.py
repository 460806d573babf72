"""Closed-loop evaluation: environments in worker processes, batched decoding, intervals, videos."""
