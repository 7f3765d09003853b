//! What others sign is accepted, what ring signs is what others sign, and nothing else is accepted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto;
use serde_json::{Value, json};

use super::*;

/// As long as HS512 wants it.
const SECRET: &str = "a secret that is long enough for HS256, HS384 and HS512, which is 64 bytes";

/// Made by `PyJWT`, which signs with OpenSSL, with the keys of `tests/fixtures/keys`: one of each algorithm.
const BY_OPENSSL: &str = include_str!("tests/by_openssl.txt");

/// The DER of a key of the tests.
macro_rules! key {
    ($file:literal) => {{
        let text = include_str!(concat!("../../../tests/fixtures/keys/", $file));
        let blocks = ::pem::parse_many(text).unwrap();
        // `openssl ecparam -genkey` writes the curve before the key.
        blocks.last().unwrap().contents().to_vec()
    }};
}

fn private(algorithm: Algorithm) -> EncodingKey {
    let file = match (algorithm.family(), algorithm) {
        (AlgorithmFamily::Hmac, _) => return EncodingKey::from_secret(SECRET.as_bytes()),
        (AlgorithmFamily::Rsa, _) => key!("rsa.pem"),
        (AlgorithmFamily::Ec, Algorithm::ES384) => key!("ec-p384.pem"),
        (AlgorithmFamily::Ec, _) => key!("ec.pem"),
        (AlgorithmFamily::Ed, _) => key!("ed25519.pem"),
    };
    private_key(&file).unwrap().1
}

fn public(algorithm: Algorithm) -> DecodingKey {
    let file = match (algorithm.family(), algorithm) {
        (AlgorithmFamily::Hmac, _) => return DecodingKey::from_secret(SECRET.as_bytes()),
        (AlgorithmFamily::Rsa, _) => key!("rsa.pub.pem"),
        (AlgorithmFamily::Ec, Algorithm::ES384) => key!("ec-p384.pub.pem"),
        (AlgorithmFamily::Ec, _) => key!("ec.pub.pem"),
        (AlgorithmFamily::Ed, _) => key!("ed25519.pub.pem"),
    };
    public_key(&file).unwrap().1
}

/// Whether it is accepted, as quell asks: for one algorithm, and without a look at times.
fn accepted(token: &str, key: &DecodingKey, algorithm: Algorithm) -> bool {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    decode::<Value>(token, key, &validation).is_ok()
}

/// Each token of OpenSSL's: its algorithm, what is signed, and the signature.
fn by_openssl() -> Vec<(Algorithm, &'static str, Vec<u8>)> {
    let read = |token: &'static str| {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        (decode_header(token).unwrap().alg, message, signature)
    };
    let all: Vec<_> = BY_OPENSSL.lines().map(read).collect();
    assert_eq!(all.len(), 12);
    all
}

fn with(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn what_rfcs_show_is_accepted() {
    let secret =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let secret = DecodingKey::from_secret(&URL_SAFE_NO_PAD.decode(secret).unwrap());
    let rsa = DecodingKey::from_rsa_components(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        "AQAB",
    );
    let ec = DecodingKey::from_ec_components(
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    );
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    // RFC 7515, A.1 to A.3.
    for (algorithm, key, header, signature) in [
        (
            Algorithm::HS256,
            secret,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            Algorithm::RS256,
            rsa.unwrap(),
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            Algorithm::ES256,
            ec.unwrap(),
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ] {
        let token = format!("{header}.{claims}.{signature}");
        assert!(accepted(&token, &key, algorithm), "{algorithm:?}");
    }
    // RFC 8037, A.4: no JWT.
    let ed25519 = DecodingKey::from_ed_components("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let signature =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let verified = crypto::verify(signature, message, &ed25519.unwrap(), Algorithm::EdDSA);
    assert!(verified.unwrap());
}

#[test]
fn what_openssl_signs_is_accepted_and_ring_signs_the_same() {
    for (algorithm, message, signature) in by_openssl() {
        assert!(
            accepted(&with(message, &signature), &public(algorithm), algorithm),
            "{algorithm:?}"
        );
        let ours = crypto::sign(message.as_bytes(), &private(algorithm), algorithm).unwrap();
        let ours = URL_SAFE_NO_PAD.decode(ours).unwrap();
        assert!(accepted(
            &with(message, &ours),
            &public(algorithm),
            algorithm
        ));
        let is_random =
            format!("{algorithm:?}").starts_with("PS") || algorithm.family() == AlgorithmFamily::Ec;
        assert_eq!(ours == signature, !is_random, "{algorithm:?}");
    }
}

#[test]
fn one_flipped_bit_is_not_accepted() {
    for (algorithm, message, signature) in by_openssl() {
        let key = public(algorithm);
        for n in 0..signature.len() {
            let mut flipped = signature.clone();
            flipped[n] ^= 1 << (n % 8);
            assert!(
                !accepted(&with(message, &flipped), &key, algorithm),
                "{algorithm:?} {n}"
            );
        }
        let longer = [signature.as_slice(), &[0]].concat();
        let padded = [&[0], signature.as_slice()].concat();
        for other in [&[], &signature[1..], &longer, &padded] {
            assert!(!accepted(&with(message, other), &key, algorithm));
        }
        let (header, _) = message.split_once('.').unwrap();
        let claims = URL_SAFE_NO_PAD.encode(json!({"sub": "globex"}).to_string());
        let other = with(&format!("{header}.{claims}"), &signature);
        assert!(!accepted(&other, &key, algorithm), "{algorithm:?}");
    }
}

#[test]
fn a_key_is_used_for_its_own_algorithms_only() {
    let tokens = by_openssl();
    for (algorithm, message, signature) in &tokens {
        for (other, _, _) in &tokens {
            let same_key = other.family() == algorithm.family()
                && other.family() != AlgorithmFamily::Ec
                || other == algorithm;
            let key = public(*other);
            assert_eq!(
                accepted(&with(message, signature), &key, *algorithm),
                same_key,
                "{algorithm:?} {other:?}"
            );
            let signed = encode(&Header::new(*algorithm), &json!({}), &private(*other));
            assert_eq!(signed.is_ok(), same_key, "{algorithm:?} {other:?}");
        }
    }
    // The text of a public key is no secret (RFC 8725, 2.1).
    let (_, message, _) = tokens[0];
    let text = EncodingKey::from_secret(include_bytes!("../../../tests/fixtures/keys/rsa.pub.pem"));
    let signature = crypto::sign(message.as_bytes(), &text, Algorithm::HS256).unwrap();
    let token = format!("{message}.{signature}");
    for algorithm in [Algorithm::HS256, Algorithm::RS256] {
        assert!(!accepted(&token, &public(Algorithm::RS256), algorithm));
    }
    // Nor are its bytes.
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let key = public(algorithm);
        let bytes = EncodingKey::from_secret(key.try_get_as_bytes().unwrap());
        let signature = crypto::sign(message.as_bytes(), &bytes, Algorithm::HS256).unwrap();
        let token = format!("{message}.{signature}");
        assert!(!accepted(&token, &key, Algorithm::HS256), "{algorithm:?}");
    }
}

#[test]
fn an_ecdsa_signature_is_two_numbers_below_the_order_in_fixed_width() {
    let order_of_p256: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (_, message, right) = by_openssl().remove(9);
    let (r, s) = right.split_at(32);
    let integer = |bytes: &[u8]| [&[2, 33, 0], bytes].concat();
    let der = [&[0x30, 70], &*integer(r), &*integer(s)].concat();
    for (what, signature) in [
        ("zeros", vec![0; 64]),
        ("r is 0", [&[0; 32], s].concat()),
        ("s is 0", [r, &[0; 32]].concat()),
        ("r is the order", [&order_of_p256, s].concat()),
        ("s is the order", [r, &order_of_p256].concat()),
        ("the largest", vec![0xff; 64]),
        ("turned round", [s, r].concat()),
        ("as DER", der),
    ] {
        let token = with(message, &signature);
        let key = public(Algorithm::ES256);
        assert!(!accepted(&token, &key, Algorithm::ES256), "{what}");
    }
}

#[test]
fn rsa_keys_below_2048_bits_neither_sign_nor_verify() {
    let (_, short) = public_key(&key!("rsa-1024.pub.pem")).unwrap();
    let token = include_str!("tests/by_rsa_1024.txt").trim();
    assert!(!accepted(token, &short, Algorithm::RS256));
    let short = EncodingKey::from_rsa_der(&key!("rsa-1024.pkcs1.pem"));
    let signed = encode(&Header::new(Algorithm::RS256), &json!({}), &short);
    assert!(matches!(
        signed.unwrap_err().kind(),
        errors::ErrorKind::InvalidRsaKey(_)
    ));
}

#[test]
fn zeros_before_an_rsa_modulus_are_no_part_of_it() {
    let (algorithm, message, signature) = by_openssl().remove(3);
    let key = public(algorithm);
    let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else {
        panic!("{key:?}");
    };
    let padded = |part: &[u8]| [&[0], part].concat();
    let key = DecodingKey::from_rsa_raw_components(&padded(n), &padded(e));
    assert!(accepted(&with(message, &signature), &key, algorithm));
}

#[test]
fn private_keys_are_read_in_every_form_and_are_none_where_they_cannot_sign() {
    for (what, der, expect) in [
        ("PKCS#8 RSA", key!("rsa.pem"), Some(Algorithm::RS256)),
        ("PKCS#1", key!("rsa.pkcs1.pem"), Some(Algorithm::RS256)),
        ("PKCS#8 P-256", key!("ec.pem"), Some(Algorithm::ES256)),
        ("SEC 1 P-256", key!("ec.sec1.pem"), Some(Algorithm::ES256)),
        ("PKCS#8 P-384", key!("ec-p384.pem"), Some(Algorithm::ES384)),
        (
            "SEC 1 P-384",
            key!("ec-p384.sec1.pem"),
            Some(Algorithm::ES384),
        ),
        ("Ed25519", key!("ed25519.pem"), Some(Algorithm::EdDSA)),
        ("no public half", key!("ec.without-public.pem"), None),
        ("1024 bits", key!("rsa-1024.pem"), None),
        ("1024 bits, PKCS#1", key!("rsa-1024.pkcs1.pem"), None),
        ("public", key!("rsa.pub.pem"), None),
        ("certificate", key!("certificate.pem"), None),
        ("nothing", Vec::new(), None),
    ] {
        let key = private_key(&der);
        assert_eq!(key.as_ref().map(|key| key.0), expect, "{what}");
        if let Some((algorithm, key)) = key {
            let token = encode(&Header::new(algorithm), &json!({}), &key).unwrap();
            assert!(accepted(&token, &public(algorithm), algorithm), "{what}");
        }
    }
}

#[test]
fn public_keys_are_read_in_every_form() {
    for (what, der, expect) in [
        ("RSA", key!("rsa.pub.pem"), Some(Algorithm::RS256)),
        ("PKCS#1", key!("rsa.pkcs1.pub.pem"), Some(Algorithm::RS256)),
        ("P-256", key!("ec.pub.pem"), Some(Algorithm::ES256)),
        ("P-384", key!("ec-p384.pub.pem"), Some(Algorithm::ES384)),
        ("Ed25519", key!("ed25519.pub.pem"), Some(Algorithm::EdDSA)),
        // As long as a point on P-256.
        ("secp256k1", key!("ec-secp256k1.pub.pem"), None),
        ("private", key!("rsa.pem"), None),
        ("certificate", key!("certificate.pem"), None),
        ("nothing", Vec::new(), None),
    ] {
        let key = public_key(&der);
        assert_eq!(key.map(|key| key.0), expect, "{what}");
    }
}
