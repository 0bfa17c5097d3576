"""Plans studies, runs them on Ray and records every event."""
