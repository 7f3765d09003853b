//! PEM files: which blocks they hold, and the one form of EC private key that jsonwebtoken lacks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What is wrong with a key, and what to do; never the key itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct KeyError(pub(super) String);

impl KeyError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// One `-----BEGIN label-----` block.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    body: &'a str,
}

/// The blocks of a file, in its order.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    text.split("-----BEGIN ")
        .skip(1)
        .filter_map(|block| {
            let (label, rest) = block.split_once("-----")?;
            let (body, _) = rest.split_once("-----END ")?;
            Some(Block { label, body })
        })
        .collect()
}

impl Block<'_> {
    /// The block alone, without what else the file holds.
    pub(super) fn text(&self) -> String {
        let Self { label, body } = self;
        format!("-----BEGIN {label}-----{body}-----END {label}-----\n")
    }

    /// What is in it; none where it is not base64.
    pub(super) fn der(&self) -> Option<Vec<u8>> {
        let base64: String = self.body.split_whitespace().collect();
        STANDARD.decode(base64).ok()
    }
}

/// The named curves of EC keys, as DER object identifiers.
pub(super) const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(super) const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// An EC key as `openssl ecparam -genkey` writes it (SEC 1), in the PKCS#8 form that
/// jsonwebtoken reads (RFC 5958, RFC 5915). None where it is far too long for a key.
pub(super) fn sec1_to_pkcs8(sec1: &[u8], curve: &[u8]) -> Option<Vec<u8>> {
    const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    const VERSION: &[u8] = &[0x02, 0x01, 0x00];
    let algorithm = der(0x30, &[EC_PUBLIC_KEY, curve].concat())?;
    let key = der(0x04, sec1)?;
    der(0x30, &[VERSION, &algorithm, &key].concat())
}

fn der(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let [high, low] = u16::try_from(content.len()).ok()?.to_be_bytes();
    // DER wants the shortest form of a length.
    let length: &[u8] = match (high, low) {
        (0, 0..=0x7f) => &[low],
        (0, _) => &[0x81, low],
        (_, _) => &[0x82, high, low],
    };
    Some([&[tag], length, content].concat())
}
