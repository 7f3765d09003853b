//! The private key that signs our requests to the auth service.

use quell_jwt::{Algorithm, EncodingKey, Header};
use serde::Serialize;

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
        match quell_jwt::private_key(block.contents()) {
            Some((algorithm, key)) if algorithm != Algorithm::EdDSA => Ok(Self { key, algorithm }),
            Some(_) | None => Err(KeyError::new(
                "the key must be RSA (2048 to 4096 bits) or EC on P-256 or P-384, with its public half in it \
                 (openssl ec -in key.pem -out whole.pem)",
            )),
        }
    }

    /// `claims` as a JWT.
    pub(super) fn sign<T: Serialize>(
        &self,
        claims: &T,
    ) -> Result<String, quell_jwt::errors::Error> {
        quell_jwt::encode(&Header::new(self.algorithm), claims, &self.key)
    }
}

#[cfg(test)]
mod tests {
    use quell_jwt::Validation;
    use serde_json::{Value, json};

    use super::super::testing::{keys, public_key};
    use super::*;

    #[test]
    fn every_form_of_private_key_signs_with_its_own_algorithm() {
        let cases = [
            ("PKCS#8 RSA", keys::RSA, Algorithm::RS256, keys::RSA_PUB),
            (
                "PKCS#1 RSA",
                keys::RSA_PKCS1,
                Algorithm::RS256,
                keys::RSA_PUB,
            ),
            ("PKCS#8 P-256", keys::EC, Algorithm::ES256, keys::EC_PUB),
            ("SEC 1 P-256", keys::EC_SEC1, Algorithm::ES256, keys::EC_PUB),
            ("PKCS#8 P-384", keys::P384, Algorithm::ES384, keys::P384_PUB),
            (
                "SEC 1 P-384",
                keys::P384_SEC1,
                Algorithm::ES384,
                keys::P384_PUB,
            ),
        ];
        for (what, pem, algorithm, public) in cases {
            let key = SigningKey::from_pem(pem).unwrap_or_else(|error| panic!("{what}: {error}"));
            let token = key.sign(&json!({"sub": "x"})).unwrap();
            let mut validation = Validation::new(algorithm);
            validation.required_spec_claims.clear();
            let read = quell_jwt::decode::<Value>(&token, &public_key(public), &validation)
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
            (keys::RSA_1024, "2048 to 4096 bits"),
            (keys::EC_WITHOUT_PUBLIC, "openssl ec -in"),
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
