"""Pictures of rejects and reviews, kept beside their decisions in a bounded ring (docs/evidence.md)."""
