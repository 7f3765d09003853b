//! Keys in the forms that files hold, read from their DER.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use pkcs1::RsaPublicKeyRef;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};

use crate::provider::signer;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const CURVES: [(ObjectIdentifier, Algorithm); 2] = [
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
        Algorithm::ES256,
    ),
    (
        ObjectIdentifier::new_unwrap("1.3.132.0.34"),
        Algorithm::ES384,
    ),
];

/// A public key (RFC 5280, or PKCS#1 for RSA) on P-256, P-384 or Ed25519, or RSA of any size; and what it checks.
#[must_use]
pub fn public_key(der: &[u8]) -> Option<(Algorithm, DecodingKey)> {
    let Ok(key) = SubjectPublicKeyInfoRef::from_der(der) else {
        return rsa(der);
    };
    let bytes = key.subject_public_key.as_bytes()?;
    if key.algorithm.oid == RSA {
        rsa(bytes)
    } else if key.algorithm.oid == EC {
        Some((curve(key.algorithm)?, DecodingKey::from_ec_der(bytes)))
    } else if key.algorithm.oid == ED25519 {
        Some((Algorithm::EdDSA, DecodingKey::from_ed_der(bytes)))
    } else {
        None
    }
}

/// A private key that signs, and by what: PKCS#8, PKCS#1 (RSA), or RFC 5915 (EC: SEC 1, as `openssl ecparam -genkey` writes it).
///
/// It is RSA of 2048 to 4096 bits, EC on P-256 or P-384 with its public half, or Ed25519: ring reads no others.
#[must_use]
pub fn private_key(der: &[u8]) -> Option<(Algorithm, EncodingKey)> {
    let found = if let Ok(info) = PrivateKeyInfoRef::from_der(der) {
        vec![of_pkcs8(&info, der)?]
    } else {
        let [(p256, es256), (p384, es384)] = &CURVES;
        vec![
            (Algorithm::RS256, EncodingKey::from_rsa_der(der)),
            (*es256, EncodingKey::from_ec_der(&sec1(p256, der)?)),
            (*es384, EncodingKey::from_ec_der(&sec1(p384, der)?)),
        ]
    };
    let mut signing = found.into_iter();
    signing.find(|(algorithm, key)| signer(*algorithm, key).is_ok())
}

fn rsa(der: &[u8]) -> Option<(Algorithm, DecodingKey)> {
    let key = RsaPublicKeyRef::from_der(der).ok()?;
    let (n, e) = (key.modulus.as_bytes(), key.public_exponent.as_bytes());
    Some((Algorithm::RS256, DecodingKey::from_rsa_raw_components(n, e)))
}

fn curve(algorithm: AlgorithmIdentifierRef<'_>) -> Option<Algorithm> {
    let named = algorithm.parameters_oid().ok()?;
    let curve = CURVES.into_iter().find(|(curve, _)| *curve == named)?;
    Some(curve.1)
}

fn of_pkcs8(info: &PrivateKeyInfoRef<'_>, der: &[u8]) -> Option<(Algorithm, EncodingKey)> {
    if info.algorithm.oid == RSA {
        let key = EncodingKey::from_rsa_der(info.private_key.as_bytes());
        Some((Algorithm::RS256, key))
    } else if info.algorithm.oid == EC {
        Some((curve(info.algorithm)?, EncodingKey::from_ec_der(der)))
    } else if info.algorithm.oid == ED25519 {
        Some((Algorithm::EdDSA, EncodingKey::from_ed_der(der)))
    } else {
        None
    }
}

/// RFC 5915 as PKCS#8.
fn sec1(curve: &ObjectIdentifier, der: &[u8]) -> Option<Vec<u8>> {
    let algorithm = AlgorithmIdentifierRef {
        oid: EC,
        parameters: Some(AnyRef::from(curve)),
    };
    let key = OctetStringRef::new(der).ok()?;
    PrivateKeyInfoRef::new(algorithm, key).to_der().ok()
}
