//! Keys that JWTs of callers are checked with. Each pins its one algorithm.

use quell_jwt::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use quell_jwt::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

/// The most keys of one JWKS that are used.
const JWKS_KEYS_MAX: usize = 64;
/// The shortest RSA modulus: 2048 bits.
const RSA_MODULUS_BYTES_MIN: usize = 256;
/// RFC 7518, 3.2: an HS256 key is at least as long as the hash.
pub(super) const HMAC_BYTES_MIN: usize = 32;
/// An uncompressed point on P-256.
const P256_POINT_BYTES: usize = 65;
const ED25519_BYTES: usize = 32;

/// What is wrong with a key, and what to do; never the key itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct KeyError(pub(super) String);

impl KeyError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// A key and the only algorithm that it is used with, whatever a token's header says.
#[derive(Debug, Clone)]
pub(super) struct VerifyingKey {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// Where a JWKS comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JwksSource {
    /// Our own file, which may hold shared secrets (`kty: oct`).
    File,
    /// A URL that others can read: shared secrets in it are not used.
    Url,
}

impl VerifyingKey {
    /// HS256.
    pub(super) fn from_secret(secret: &SecretString) -> Self {
        Self {
            kid: None,
            algorithm: Algorithm::HS256,
            decoding: DecodingKey::from_secret(secret.expose_secret().as_bytes()),
        }
    }

    /// RS256, ES256 or `EdDSA`, as the public key in the PEM file is.
    pub(super) fn from_pem(text: &str) -> Result<Self, KeyError> {
        let blocks = pem::parse_many(text).unwrap_or_default();
        let [block] = blocks.as_slice() else {
            return Err(KeyError::new(
                "it must hold one public key in PEM form (-----BEGIN PUBLIC KEY-----)",
            ));
        };
        match block.tag() {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
            "CERTIFICATE" => {
                return Err(KeyError::new(
                    "it holds a certificate: take its key out (openssl x509 -in cert.pem -noout -pubkey)",
                ));
            }
            label if label.ends_with("PRIVATE KEY") => {
                return Err(KeyError::new(
                    "it holds a private key: put the public half there (openssl pkey -in key.pem -pubout)",
                ));
            }
            label => {
                return Err(KeyError(format!(
                    "it holds a {label}, but must hold a public key"
                )));
            }
        }
        let Some((algorithm, decoding)) = quell_jwt::public_key(block.contents()) else {
            return Err(KeyError::new(
                "the key must be RSA, EC on P-256 or Ed25519, in PEM form",
            ));
        };
        check_size(&decoding).map_err(KeyError::new)?;
        Ok(Self {
            kid: None,
            algorithm,
            decoding,
        })
    }

    /// One key of a JWKS, or why it is not used.
    fn from_jwk(jwk: &Value, origin: JwksSource) -> Result<Self, &'static str> {
        let Ok(jwk) = Jwk::deserialize(jwk) else {
            return Err("it cannot be read as a JWK");
        };
        let usage = jwk.common.public_key_use.as_ref();
        if usage.is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return Err("its use is not sig");
        }
        let operations = jwk.common.key_operations.as_deref();
        if operations.is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
            return Err("its key_ops lack verify");
        }
        let algorithm = algorithm_of(&jwk.algorithm, origin)?;
        let named = jwk.common.key_algorithm;
        if named.is_some_and(|named| named != KeyAlgorithm::from(algorithm)) {
            return Err("its alg is not RS256, ES256, EdDSA or HS256 as its kty demands");
        }
        let Ok(decoding) = DecodingKey::from_jwk(&jwk) else {
            return Err("its values are not base64url");
        };
        check_size(&decoding)?;
        Ok(Self {
            kid: jwk.common.key_id,
            algorithm,
            decoding,
        })
    }

    /// The usable keys of a JWKS (RFC 7517). What cannot be used is left out, and logged.
    pub(super) fn from_jwks(json: &[u8], origin: JwksSource) -> Result<Vec<Self>, KeyError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let Ok(set) = serde_json::from_slice::<Set>(json) else {
            return Err(KeyError::new(r#"it is no JWKS: {"keys": [...]}"#));
        };
        let mut keys = Vec::new();
        for jwk in &set.keys {
            let kid = jwk.get("kid").and_then(Value::as_str).unwrap_or("(none)");
            match Self::from_jwk(jwk, origin) {
                Ok(_) if keys.len() >= JWKS_KEYS_MAX => {
                    tracing::warn!(kid, "a key of the JWKS is not used: there are too many");
                }
                Ok(key) => keys.push(key),
                Err(why) => tracing::warn!(kid, why, "a key of the JWKS is not used"),
            }
        }
        Ok(keys)
    }
}

fn algorithm_of(
    parameters: &AlgorithmParameters,
    origin: JwksSource,
) -> Result<Algorithm, &'static str> {
    if let AlgorithmParameters::RSA(_) = parameters {
        return Ok(Algorithm::RS256);
    }
    if let AlgorithmParameters::EllipticCurve(ec) = parameters
        && ec.curve == EllipticCurve::P256
    {
        return Ok(Algorithm::ES256);
    }
    if let AlgorithmParameters::OctetKeyPair(okp) = parameters
        && okp.curve == EllipticCurve::Ed25519
    {
        return Ok(Algorithm::EdDSA);
    }
    if let AlgorithmParameters::OctetKey(_) = parameters {
        return match origin {
            JwksSource::File => Ok(Algorithm::HS256),
            JwksSource::Url => Err("a secret that is served to others is none"),
        };
    }
    Err("it is not RSA, EC on P-256 or Ed25519")
}

/// Refuses a key that cannot check a signature, or is too weak.
fn check_size(key: &DecodingKey) -> Result<(), &'static str> {
    let raw_bytes = || key.try_get_as_bytes().map_or(0, <[u8]>::len);
    let (right, why) = match key.family() {
        AlgorithmFamily::Rsa => (
            rsa_is_long_enough(key),
            "the RSA key must have 2048 bits or more",
        ),
        AlgorithmFamily::Ec => (
            raw_bytes() == P256_POINT_BYTES,
            "the EC key must be on P-256",
        ),
        AlgorithmFamily::Ed => (
            raw_bytes() == ED25519_BYTES,
            "the Ed25519 key must have 32 bytes",
        ),
        AlgorithmFamily::Hmac => (
            raw_bytes() >= HMAC_BYTES_MIN,
            "the HS256 secret must have 32 bytes or more",
        ),
    };
    if right { Ok(()) } else { Err(why) }
}

fn rsa_is_long_enough(key: &DecodingKey) -> bool {
    let DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind() else {
        return false;
    };
    let mut bytes = n.iter().skip_while(|byte| **byte == 0);
    let (first, others) = (bytes.next(), bytes.count());
    // ring would take 2047 bits.
    others >= RSA_MODULUS_BYTES_MIN || others + 1 == RSA_MODULUS_BYTES_MIN && first >= Some(&0x80)
}

#[cfg(test)]
mod tests;
