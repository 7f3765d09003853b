//! JWTs: jsonwebtoken, whose signatures ring makes and checks.
//!
//! ring is there for TLS already. jsonwebtoken's own choices are a second library of cryptography: aws-lc takes a minute to
//! compile, and `RustCrypto`'s RSA tells private keys by its timing (RUSTSEC-2023-0071). Its reader of PEM files brings in
//! calendars and big numbers, and takes any file in which a number looks right.
//!
//! jsonwebtoken is called through here only: it panics where no cryptography is installed yet. (livekit-token has an older
//! version of its own.)

mod keys;
mod provider;

use jsonwebtoken::errors::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey, Header, TokenData,
    Validation, dangerous, decode_header, errors, jwk,
};
pub use keys::{private_key, public_key};

/// Reads and checks a JWT.
pub fn decode<T: DeserializeOwned>(
    token: impl AsRef<[u8]>,
    key: &DecodingKey,
    validation: &Validation,
) -> Result<TokenData<T>> {
    provider::install();
    jsonwebtoken::decode(token, key, validation)
}

/// Makes and signs a JWT.
pub fn encode<T: Serialize>(header: &Header, claims: &T, key: &EncodingKey) -> Result<String> {
    provider::install();
    jsonwebtoken::encode(header, claims, key)
}

#[cfg(test)]
mod tests;
