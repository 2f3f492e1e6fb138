//! Bounds of single fields, the same for links and streams. SPEC.md, sections 9 and 12.

use crate::error::Error;
use crate::limits::{HASH_LEN, IP_LEN_MAX, REQUEST_ID_LEN, SESSION_ID_LEN, SIGNATURE_LEN};
use crate::wire::cursor::{Fields, Value};

/// A request's id, made by the client's SDK.
pub type RequestId = [u8; REQUEST_ID_LEN];

/// A varint field of a message made of numbers.
pub(super) fn number(inner: &[u8], wanted: u32) -> Result<u64, Error> {
    let mut found = 0;
    let mut fields = Fields::new(inner);
    while let Some((field, value)) = fields.next()? {
        if let (true, Value::Varint(value)) = (field == wanted, value) {
            found = value;
        }
    }
    Ok(found)
}

pub(super) fn request_id(bytes: &[u8]) -> Result<RequestId, Error> {
    bytes.try_into().map_err(|_| Error::Field("id"))
}

pub(super) fn at_most<'b>(bytes: &'b [u8], max: usize, name: &'static str) -> Result<&'b [u8], Error> {
    if bytes.len() <= max { Ok(bytes) } else { Err(Error::Field(name)) }
}

/// Of one length, or empty as if it were not there.
fn exactly<'b>(bytes: &'b [u8], len: usize, name: &'static str) -> Result<&'b [u8], Error> {
    if bytes.is_empty() || bytes.len() == len { Ok(bytes) } else { Err(Error::Field(name)) }
}

/// A field that must be there.
pub(super) fn required(bytes: &[u8], name: &'static str) -> Result<(), Error> {
    if bytes.is_empty() { Err(Error::Field(name)) } else { Ok(()) }
}

/// A session's id, or none.
pub(super) fn session(bytes: &[u8]) -> Result<&[u8], Error> {
    exactly(bytes, SESSION_ID_LEN, "session")
}

/// A hash or a public key, or none.
pub(super) fn hash<'b>(bytes: &'b [u8], name: &'static str) -> Result<&'b [u8], Error> {
    exactly(bytes, HASH_LEN, name)
}

/// An Ed25519 signature, or none.
pub(super) fn signature(bytes: &[u8]) -> Result<&[u8], Error> {
    exactly(bytes, SIGNATURE_LEN, "signature")
}

/// An IPv4 or IPv6 address, or none.
pub(super) fn address(bytes: &[u8]) -> Result<&[u8], Error> {
    if matches!(bytes.len(), 0 | 4 | IP_LEN_MAX) { Ok(bytes) } else { Err(Error::Field("address")) }
}

pub(super) fn text<'b>(bytes: &'b [u8], max: usize, name: &'static str) -> Result<&'b str, Error> {
    std::str::from_utf8(at_most(bytes, max, name)?).map_err(|_| Error::Field(name))
}
