//! What jsonwebtoken asks of a library of cryptography, by ring.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    self as by, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaEncoding, RsaKeyPair,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use signature::{Error, Signer, Verifier};

static BY_RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| signer(*algorithm, key),
    verifier_factory: |algorithm, key| verifier(*algorithm, key),
    key_utils: KeyUtils {
        // They make JWKs of keys; we only read these.
        rsa_pub_components_from_public_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        rsa_pub_components_from_private_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ec_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ed_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        compute_digest: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
};

/// Makes ring what jsonwebtoken uses; costs next to nothing when it is called again.
pub(crate) fn install() {
    // Err means that it is installed already.
    BY_RING.install_default().unwrap_or(());
}

struct RingSigner {
    algorithm: Algorithm,
    key: SigningKey,
}

enum SigningKey {
    Hmac(hmac::Key),
    Rsa(&'static dyn RsaEncoding, Box<RsaKeyPair>),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The signer of a key; an error where the key is not for `algorithm`.
pub(crate) fn signer(algorithm: Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    let bytes = key.as_bytes();
    let hmac = |hash| Ok(SigningKey::Hmac(hmac::Key::new(hash, bytes)));
    let rsa = |encoding| match RsaKeyPair::from_der(bytes) {
        Ok(pair) => Ok(SigningKey::Rsa(encoding, Box::new(pair))),
        Err(why) => Err(ErrorKind::InvalidRsaKey(why.to_string())),
    };
    let ecdsa = |curve: &'static EcdsaSigningAlgorithm| match EcdsaKeyPair::from_pkcs8(
        curve,
        bytes,
        &SystemRandom::new(),
    ) {
        Ok(pair) => Ok(SigningKey::Ecdsa(pair)),
        Err(_) => Err(ErrorKind::InvalidEcdsaKey),
    };
    let key = match algorithm {
        Algorithm::HS256 => hmac(hmac::HMAC_SHA256),
        Algorithm::HS384 => hmac(hmac::HMAC_SHA384),
        Algorithm::HS512 => hmac(hmac::HMAC_SHA512),
        Algorithm::RS256 => rsa(&by::RSA_PKCS1_SHA256),
        Algorithm::RS384 => rsa(&by::RSA_PKCS1_SHA384),
        Algorithm::RS512 => rsa(&by::RSA_PKCS1_SHA512),
        Algorithm::PS256 => rsa(&by::RSA_PSS_SHA256),
        Algorithm::PS384 => rsa(&by::RSA_PSS_SHA384),
        Algorithm::PS512 => rsa(&by::RSA_PSS_SHA512),
        Algorithm::ES256 => ecdsa(&by::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => ecdsa(&by::ECDSA_P384_SHA384_FIXED_SIGNING),
        // OpenSSL writes no public half.
        Algorithm::EdDSA => match Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
            Ok(pair) => Ok(SigningKey::Ed25519(pair)),
            Err(_) => Err(ErrorKind::InvalidEddsaKey),
        },
        _ => Err(ErrorKind::UnsupportedAlgorithm),
    }?;
    Ok(Box::new(RingSigner { algorithm, key }))
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        match &self.key {
            SigningKey::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            SigningKey::Rsa(encoding, pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .map_err(|_| Error::new())?;
                Ok(signature)
            }
            SigningKey::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| Error::new())?;
                Ok(signature.as_ref().to_vec())
            }
            SigningKey::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    key: VerifyingKey,
}

enum VerifyingKey {
    Hmac(hmac::Key),
    Public(&'static dyn VerificationAlgorithm, Vec<u8>),
    Rsa(&'static RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
}

fn verifier(algorithm: Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    let hmac = |hash| -> Result<_> {
        Ok(VerifyingKey::Hmac(hmac::Key::new(
            hash,
            key.try_get_as_bytes()?,
        )))
    };
    let rsa = |parameters: &'static RsaParameters| match key.kind() {
        DecodingKeyKind::SecretOrDer(_) => Err(ErrorKind::InvalidKeyFormat.into()),
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let key = RsaPublicKeyComponents {
                n: without_leading_zeros(n),
                e: without_leading_zeros(e),
            };
            Ok(VerifyingKey::Rsa(parameters, key))
        }
    };
    let curve = |curve: &'static dyn VerificationAlgorithm| -> Result<_> {
        Ok(VerifyingKey::Public(
            curve,
            key.try_get_as_bytes()?.to_vec(),
        ))
    };
    let key = match algorithm {
        Algorithm::HS256 => hmac(hmac::HMAC_SHA256),
        Algorithm::HS384 => hmac(hmac::HMAC_SHA384),
        Algorithm::HS512 => hmac(hmac::HMAC_SHA512),
        Algorithm::RS256 => rsa(&by::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => rsa(&by::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => rsa(&by::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => rsa(&by::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => rsa(&by::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => rsa(&by::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => curve(&by::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => curve(&by::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => curve(&by::ED25519),
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }?;
    Ok(Box::new(RingVerifier { algorithm, key }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        match &self.key {
            VerifyingKey::Hmac(key) => hmac::verify(key, message, signature),
            VerifyingKey::Public(algorithm, key) => {
                UnparsedPublicKey::new(*algorithm, key).verify(message, signature)
            }
            VerifyingKey::Rsa(parameters, key) => key.verify(parameters, message, signature),
        }
        .map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// Some JWKS have a zero before the modulus, as DER does (RFC 7518, 6.3.1.1); ring refuses it.
fn without_leading_zeros(number: &[u8]) -> Vec<u8> {
    number
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .collect()
}
