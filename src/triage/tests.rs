//! Tests against the corpus of real failures.
