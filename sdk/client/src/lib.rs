//! Placeholder until the first step of this room lands.
