//! The private key that signs our requests to the auth service.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pem::Pem;
use serde::Serialize;
use serde_json::json;

use super::key::KeyError;

/// A private key and the one algorithm that it signs with.
#[derive(Debug)]
pub(super) struct SigningKey {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl SigningKey {
    /// Reads a PEM file: RSA (RS256), or EC on P-256 (ES256) or P-384 (ES384).
    pub(super) fn from_pem(text: &str) -> Result<Self, KeyError> {
        let blocks = pem::parse_many(text).unwrap_or_default();
        // `openssl ecparam -genkey` writes the curve as a block of its own before the key.
        let mut keys = blocks.iter().filter(|block| block.tag() != "EC PARAMETERS");
        let (Some(block), None) = (keys.next(), keys.next()) else {
            return Err(KeyError::new(
                "it must hold one private key in PEM form (-----BEGIN PRIVATE KEY-----)",
            ));
        };
        match block.tag() {
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {}
            "ENCRYPTED PRIVATE KEY" => {
                return Err(KeyError::new(
                    "the key is encrypted: write it without a passphrase (openssl pkey -in key.pem -out plain.pem)",
                ));
            }
            label => {
                return Err(KeyError(format!(
                    "it holds a {label}, but must hold a private key"
                )));
            }
        }
        ec(block).or_else(|| rsa(block)).ok_or_else(|| {
            KeyError::new("the key must be RSA (2048 bits or more) or EC on P-256 or P-384")
        })
    }

    /// `claims` as a JWT.
    pub(super) fn sign<T: Serialize>(
        &self,
        claims: &T,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        jsonwebtoken::encode(&Header::new(self.algorithm), claims, &self.key)
    }
}

/// jsonwebtoken reads EC keys as PKCS#8 only; `openssl ecparam -genkey` writes RFC 5915 (SEC 1).
fn ec(block: &Pem) -> Option<SigningKey> {
    let curves = [
        (Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING),
        (Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING),
    ];
    curves.into_iter().find_map(|(algorithm, curve)| {
        let pair = EcdsaKeyPair::from_private_key_der(curve, block.contents()).ok()?;
        let pkcs8 = pair.to_pkcs8v1().ok()?;
        let key = EncodingKey::from_ec_der(pkcs8.as_ref());
        Some(SigningKey { key, algorithm })
    })
}

/// jsonwebtoken checks an RSA key only when it signs.
fn rsa(block: &Pem) -> Option<SigningKey> {
    let key = EncodingKey::from_rsa_pem(pem::encode(block).as_bytes()).ok()?;
    let algorithm = Algorithm::RS256;
    let key = SigningKey { key, algorithm };
    key.sign(&json!({})).is_ok().then_some(key)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    use super::super::testing::keys;
    use super::*;

    #[test]
    fn every_form_of_private_key_signs_with_its_own_algorithm() {
        let rsa = || DecodingKey::from_rsa_pem(keys::RSA_PUB.as_bytes()).unwrap();
        let ec = || DecodingKey::from_ec_pem(keys::EC_PUB.as_bytes()).unwrap();
        let p384 = || DecodingKey::from_ec_pem(keys::P384_PUB.as_bytes()).unwrap();
        let cases = [
            ("PKCS#8 RSA", keys::RSA, Algorithm::RS256, rsa()),
            ("PKCS#1 RSA", keys::RSA_PKCS1, Algorithm::RS256, rsa()),
            ("PKCS#8 P-256", keys::EC, Algorithm::ES256, ec()),
            ("SEC 1 P-256", keys::EC_SEC1, Algorithm::ES256, ec()),
            ("PKCS#8 P-384", keys::P384, Algorithm::ES384, p384()),
            ("SEC 1 P-384", keys::P384_SEC1, Algorithm::ES384, p384()),
        ];
        for (what, pem, algorithm, public) in cases {
            let key = SigningKey::from_pem(pem).unwrap_or_else(|error| panic!("{what}: {error}"));
            let token = key.sign(&json!({"sub": "x"})).unwrap();
            let mut validation = Validation::new(algorithm);
            validation.required_spec_claims.clear();
            let read = jsonwebtoken::decode::<Value>(&token, &public, &validation)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(read.claims, json!({"sub": "x"}), "{what}");
        }
    }

    #[test]
    fn what_cannot_sign_is_refused_with_what_to_do() {
        let two = format!("{}{}", keys::RSA, keys::EC);
        for (pem, expect) in [
            ("", "must hold one private key"),
            ("nonsense", "must hold one private key"),
            (two.as_str(), "must hold one private key"),
            (keys::RSA_PUB, "holds a PUBLIC KEY"),
            (keys::CERTIFICATE, "holds a CERTIFICATE"),
            (keys::ENCRYPTED, "without a passphrase"),
            (keys::ED25519, "must be RSA"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
                "must be RSA",
            ),
        ] {
            let error = SigningKey::from_pem(pem).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_key() {
        let shown = format!("{:?}", SigningKey::from_pem(keys::EC).unwrap());
        assert!(shown.contains("redacted"), "{shown}");
    }
}
