//! Structs generated from `proto/*.proto`: for SDKs, rare frames and as the oracle of the hand-written decoders.

/// Frames of a client link.
#[expect(missing_docs, reason = "generated; the .proto file is the documentation")]
pub mod link {
    include!(concat!(env!("OUT_DIR"), "/gateway.link.v1.rs"));
}

/// Frames of a backend stream.
#[expect(missing_docs, reason = "generated; the .proto file is the documentation")]
pub mod stream {
    include!(concat!(env!("OUT_DIR"), "/gateway.stream.v1.rs"));
}
