//! What tests of more than one package use. The tests themselves lie in `tests/`.

pub mod targets;
