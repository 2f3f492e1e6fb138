//! Frames of a client link, decoded in place.
