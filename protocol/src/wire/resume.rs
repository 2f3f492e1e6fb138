//! What a client shows to go on with a session: `Auth.resume` is the body of this message. SPEC.md, section 8.2.

use crate::error::Error;
use crate::limits::{HASH_LEN, RESUME_LEN_MAX, SESSION_ID_LEN};
use crate::wire::cursor::{Fields, Value};
use crate::wire::field::at_most;
use crate::wire::sink::{Message, Sink, Write};

/// See `Resume` in `proto/link.proto`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Resume<'b> {
    /// The session.
    pub session: &'b [u8; SESSION_ID_LEN],
    /// Larger than in every earlier attempt for this session.
    pub attempt: u32,
    /// Of the last push that came in order.
    pub last_sequence: u64,
    /// See [`Resumption`](crate::noise::Resumption).
    pub proof: &'b [u8; HASH_LEN],
}

impl<'b> Resume<'b> {
    /// Decodes the body of the message. That of an `Auth` that was decoded always is one, unless it is empty.
    ///
    /// # Errors
    /// [`Error::FrameEncoding`] for broken protobuf; [`Error::Field`] when it is longer than 128 bytes, or when session
    /// or proof are missing or have another length.
    pub fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let (mut session, mut proof) = (&[][..], &[][..]);
        let (mut attempt, mut last_sequence) = (0, 0);
        let mut fields = Fields::new(at_most(inner, RESUME_LEN_MAX, "resume")?);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(bytes)) => session = bytes,
                (2, Value::Varint(value)) => attempt = value as u32,
                (3, Value::Varint(value)) => last_sequence = value,
                (4, Value::Bytes(bytes)) => proof = bytes,
                _ => {}
            }
        }
        let session = session.as_array().ok_or(Error::Field("session"))?;
        let proof = proof.as_array().ok_or(Error::Field("proof"))?;
        Ok(Self { session, attempt, last_sequence, proof })
    }

    /// Appends the body of the message: at most 69 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.fields(&mut Write(out));
    }
}

impl Message for Resume<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.bytes(1, self.session);
        to.varint(2, self.attempt.into());
        to.varint(3, self.last_sequence);
        to.bytes(4, self.proof);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::wire::proto::link as proto;

    proptest! {
        /// What prost wrote, ours reads as the same values, and writes as the same bytes.
        #[test]
        fn agrees_with_prost_in_both_directions(session: [u8; 16], attempt: u32, last_sequence: u64, proof: [u8; 32]) {
            let theirs = proto::Resume {
                session: session.to_vec().into(), attempt, last_sequence, proof: proof.to_vec().into(),
            };
            let body = theirs.encode_to_vec();
            let ours = Resume { session: &session, attempt, last_sequence, proof: &proof };
            prop_assert_eq!(Resume::decode(&body), Ok(ours));
            let mut written = Vec::new();
            ours.encode(&mut written);
            prop_assert!(written.len() <= 69, "{}", written.len());
            prop_assert_eq!(written, body);
        }

        #[test]
        fn agrees_with_prost_on_damaged_bodies(
            hits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>(),
        ) {
            let whole = Resume { session: &[1; 16], attempt: 300, last_sequence: 1 << 40, proof: &[2; 32] };
            let mut body = Vec::new();
            whole.encode(&mut body);
            for (at, byte) in hits {
                let at = at.index(body.len());
                body[at] = byte;
            }
            compare(&body)?;
            compare(&body[..cut.index(body.len())])?;
        }
    }

    fn compare(body: &[u8]) -> Result<(), TestCaseError> {
        match (Resume::decode(body), proto::Resume::decode(body)) {
            (Ok(ours), Ok(theirs)) => {
                let ours = proto::Resume {
                    session: ours.session.to_vec().into(),
                    attempt: ours.attempt,
                    last_sequence: ours.last_sequence,
                    proof: ours.proof.to_vec().into(),
                };
                prop_assert_eq!(ours, theirs);
            }
            (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("wire type"), "{error}"),
            (Err(Error::Field(_)), Ok(theirs)) => {
                prop_assert!(theirs.session.len() != 16 || theirs.proof.len() != 32, "{theirs:?}");
            }
            (Err(Error::FrameEncoding), Ok(_)) => {
                prop_assert!(body.iter().any(|byte| matches!(byte & 7, 3 | 4)))
            }
            (Err(other), Ok(_)) => prop_assert!(false, "{other:?} is no error of a message"),
            (Err(_), Err(_)) => {}
        }
        Ok(())
    }

    #[test]
    fn session_and_proof_are_there_and_have_their_lengths() {
        let with = |session: usize, proof: usize| {
            let (session, proof) = (vec![1; session].into(), vec![2; proof].into());
            proto::Resume { session, proof, attempt: 1, last_sequence: 0 }.encode_to_vec()
        };
        for (session, proof, field) in [
            (0, 32, "session"),
            (15, 32, "session"),
            (17, 32, "session"),
            (16, 0, "proof"),
            (16, 33, "proof"),
        ] {
            assert_eq!(Resume::decode(&with(session, proof)), Err(Error::Field(field)), "{session}, {proof}");
        }
        assert!(Resume::decode(&with(16, 32)).is_ok());
        assert_eq!(Resume::decode(&[0; 129]), Err(Error::Field("resume")));
    }
}
