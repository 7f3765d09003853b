//! The private key that signs our requests to the auth service.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::json;

use super::pem::{self, Block, KeyError};

/// A private key and the one algorithm that it signs with.
#[derive(Debug)]
pub(super) struct SigningKey {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl SigningKey {
    /// Reads a PEM file: RSA (RS256), or EC on P-256 (ES256) or P-384 (ES384).
    pub(super) fn from_pem(text: &str) -> Result<Self, KeyError> {
        let blocks = pem::blocks(text);
        // `openssl ecparam -genkey` writes the curve as a block of its own before the key.
        let mut keys = blocks.iter().filter(|block| block.label != "EC PARAMETERS");
        let (Some(block), None) = (keys.next(), keys.next()) else {
            return Err(KeyError::new(
                "it must hold one private key in PEM form (-----BEGIN PRIVATE KEY-----)",
            ));
        };
        match block.label {
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
        candidates(block)
            .into_iter()
            .find(|candidate| candidate.sign(&json!({})).is_ok())
            .ok_or_else(|| {
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

/// Everything that the block could be. jsonwebtoken tells what it is by signing with it only.
fn candidates(block: &Block<'_>) -> Vec<SigningKey> {
    let text = block.text();
    let sec1 = (block.label == "EC PRIVATE KEY")
        .then(|| block.der())
        .flatten();
    let ec = |curve: &[u8]| match &sec1 {
        Some(sec1) => pem::sec1_to_pkcs8(sec1, curve).map(|der| EncodingKey::from_ec_der(&der)),
        None => EncodingKey::from_ec_pem(text.as_bytes()).ok(),
    };
    [
        (
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(text.as_bytes()).ok(),
        ),
        (Algorithm::ES256, ec(pem::P256)),
        (Algorithm::ES384, ec(pem::P384)),
    ]
    .into_iter()
    .filter_map(|(algorithm, key)| {
        Some(SigningKey {
            key: key?,
            algorithm,
        })
    })
    .collect()
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
