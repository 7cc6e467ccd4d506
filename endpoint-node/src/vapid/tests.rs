//! Credentials of every kind, verified at a fixed time.

use super::*;
use beckon_client::vapid::Signer;
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use serde_json::json;

/// The Unix time at which credentials are verified.
const NOW_S: u64 = 1_700_000_000;

const URL: &str = "https://push.example.net";

fn verifier(cache_size: usize) -> Verifier {
    Verifier::new(&URL.parse().unwrap(), &[], cache_size, Metrics::default())
}

fn signer() -> Signer {
    Signer::generate().unwrap().0
}

/// Verifies a token with these claims and a valid signature.
fn verified(claims: &Value) -> Result<KeyHash, InvalidVapid> {
    let signer = signer();
    let token = signer.sign(&json!({"typ": "JWT", "alg": "ES256"}), claims).unwrap();
    let key = signer.public_key();
    let verified = verifier(10).verify(Credential { token: &token, key }, NOW_S);
    assert!(verified.is_err() || verified == Ok(VapidKey::parse(key).unwrap().hash()));
    verified
}

#[test]
fn the_example_of_rfc_8292_is_verified() {
    let token = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1M\
                 jM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojF\
                 wDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA";
    let key = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";
    let credential = Credential { token, key };
    let expected = VapidKey::parse(key).unwrap().hash();
    assert_eq!(verifier(0).verify(credential, 1_453_523_768), Ok(expected));
    assert_eq!(verifier(0).verify(credential, NOW_S), Err(InvalidVapid::Expired));
}

/// RFC 7519 section 4.
#[test]
fn of_two_claims_with_one_name_the_last_one_counts() {
    let claims = object(&URL_SAFE_NO_PAD.encode(r#"{"exp":1,"exp":2}"#)).unwrap();
    assert_eq!(claims, *json!({"exp": 2}).as_object().unwrap());
}

#[test]
fn a_token_is_for_this_origin() {
    for (aud, is_ours) in [
        (json!(URL), true),
        (json!("https://push.example.net/"), true),
        (json!("https://push.example.net:443"), true),
        (json!("https://Push.Example.Net"), true),
        (json!("HTTPS://push.example.net"), true),
        (json!(["https://elsewhere.example", URL]), true),
        (json!([1, URL]), true),
        (json!("http://push.example.net"), false),
        (json!("https://push.example.net:8443"), false),
        (json!("https://push.example.net:80"), false),
        (json!("https://push.example.net/wpush"), false),
        (json!("https://push.example.net.example"), false),
        (json!("push.example.net"), false),
        (json!(["https://elsewhere.example"]), false),
        (json!([[URL]]), false),
        (json!([]), false),
        (json!({"aud": URL}), false),
        (json!(""), false),
        (json!(7), false),
        (json!(null), false),
    ] {
        let came = aud.to_string().into();
        let expected =
            if is_ours { None } else { Some(InvalidVapid::Audience { expected: URL.into(), came }) };
        assert_eq!(verified(&json!({"aud": aud, "exp": NOW_S})).err(), expected, "{aud}");
    }
    let missing = InvalidVapid::Audience { expected: URL.into(), came: "missing".into() };
    assert_eq!(verified(&json!({"exp": NOW_S})), Err(missing));
}

#[test]
fn an_audience_may_be_in_unicode_or_a_former_one() {
    let url = "https://push.xn--bcher-kva.example:8443".parse().unwrap();
    let former = ["https://old.example.net".parse().unwrap(), "http://xn--fsq.example".parse().unwrap()];
    let verifier = Verifier::new(&url, &former, 0, Metrics::default());
    for (aud, is_ours) in [
        ("https://push.b\u{fc}cher.example:8443", true),
        ("https://Push.B\u{dc}CHER.example:8443/", true),
        ("https://push.XN--bcher-kva.example:8443", true),
        ("https://push.b\u{fc}cher.example", false),
        ("https://push.bucher.example:8443", false),
        ("https://old.example.net", true),
        ("http://\u{4f8b}.example:80", true),
        ("https://\u{4f8b}.example", false),
        ("https://push.example.net", false),
    ] {
        let signer = signer();
        let header = json!({"typ": "JWT", "alg": "ES256"});
        let token = signer.sign(&header, &json!({"aud": aud, "exp": NOW_S})).unwrap();
        let credential = Credential { token: &token, key: signer.public_key() };
        assert_eq!(verifier.verify(credential, NOW_S).is_ok(), is_ours, "{aud}");
    }
}

#[test]
fn a_token_is_valid_for_up_to_a_day() {
    for (exp, error) in [
        (json!(NOW_S), None),
        (json!(NOW_S - 60), None),
        (json!(NOW_S - 61), Some(InvalidVapid::Expired)),
        (json!(0), Some(InvalidVapid::Expired)),
        (json!(-1), Some(InvalidVapid::Expired)),
        (json!(NOW_S + 86_460), None),
        (json!(NOW_S + 86_461), Some(InvalidVapid::TooFarAhead)),
        (json!(u64::MAX), Some(InvalidVapid::TooFarAhead)),
        (json!(1e300), Some(InvalidVapid::TooFarAhead)),
        (json!(-1e300), Some(InvalidVapid::Expired)),
        (json!(1_700_000_000.5), None),
        (json!("1700000000"), Some(InvalidVapid::Expiry)),
        (json!(true), Some(InvalidVapid::Expiry)),
        (json!(null), Some(InvalidVapid::Expiry)),
    ] {
        assert_eq!(verified(&json!({"aud": URL, "exp": exp})).err(), error, "{exp}");
    }
    assert_eq!(verified(&json!({"aud": URL})), Err(InvalidVapid::Expiry));
}

#[test]
fn a_subject_does_not_matter() {
    for sub in [
        json!("mailto:a@example.net"),
        json!("https://example.net"),
        json!("nonsense"),
        json!(7),
        json!(null),
    ] {
        assert!(verified(&json!({"aud": URL, "exp": NOW_S, "sub": sub})).is_ok(), "{sub}");
    }
}

#[test]
fn a_token_has_three_parts_and_is_signed_with_es256() {
    let signer = signer();
    let claims = json!({"aud": URL, "exp": NOW_S});
    let signed = |header: Value| signer.sign(&header, &claims).unwrap();
    let good = signed(json!({"alg": "ES256"}));
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let list = URL_SAFE_NO_PAD.encode("[]");
    for (token, error) in [
        (good.clone(), None),
        (signed(json!({"alg": "ES256", "kid": "x", "jwk": {}})), None),
        (signed(json!({"alg": "none"})), Some(InvalidVapid::Algorithm)),
        (signed(json!({"alg": "HS256"})), Some(InvalidVapid::Algorithm)),
        (signed(json!({"alg": "es256"})), Some(InvalidVapid::Algorithm)),
        (signed(json!({})), Some(InvalidVapid::Algorithm)),
        (signed(json!({"alg": 7})), Some(InvalidVapid::Algorithm)),
        (signed(json!(["ES256"])), Some(InvalidVapid::Token)),
        (signer.sign(&json!({"alg": "ES256"}), &json!(7)).unwrap(), Some(InvalidVapid::Token)),
        (String::new(), Some(InvalidVapid::Token)),
        ("..".to_owned(), Some(InvalidVapid::Token)),
        (unsigned.to_owned(), Some(InvalidVapid::Token)),
        (format!("{good}.x"), Some(InvalidVapid::Token)),
        (format!("{good}="), Some(InvalidVapid::Token)),
        (format!("{list}.{list}.{signature}"), Some(InvalidVapid::Token)),
        (format!("{unsigned}."), Some(InvalidVapid::Signature)),
        (format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode([1; 64])), Some(InvalidVapid::Signature)),
        (format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode([0; 64])), Some(InvalidVapid::Signature)),
        (format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode([1; 72])), Some(InvalidVapid::Signature)),
    ] {
        let credential = Credential { token: &token, key: signer.public_key() };
        assert_eq!(verifier(10).verify(credential, NOW_S).err(), error, "{token}");
    }
}

#[test]
fn a_key_has_several_spellings_and_must_be_the_one_that_signed() {
    let signer = signer();
    let token = signer.sign(&json!({"alg": "ES256"}), &json!({"aud": URL, "exp": NOW_S})).unwrap();
    let key = signer.public_key();
    let off_the_curve = URL_SAFE_NO_PAD.encode([4; 65]);
    let other = self::signer();
    for (key, error) in [
        (key, None),
        (&format!("{key}="), None),
        (&key.replace('-', "+").replace('_', "/"), None),
        (other.public_key(), Some(InvalidVapid::Signature)),
        (&off_the_curve, Some(InvalidVapid::Signature)),
        (&key[1..], Some(InvalidVapid::Key)),
        ("", Some(InvalidVapid::Key)),
    ] {
        let credential = Credential { token: &token, key };
        assert_eq!(verifier(10).verify(credential, NOW_S).err(), error, "{key}");
    }
}

/// The counted results: remembered, verified, invalid.
fn counted(registry: &Registry) -> [u64; 3] {
    let text = beckon_ops::metrics::encode(registry).unwrap();
    ["remembered", "verified", "invalid"].map(|result| {
        let start = format!("endpoint_vapid_total{{result=\"{result}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.map_or(0, |count| count.parse().unwrap())
    })
}

#[test]
fn a_credential_is_verified_once_and_remembered_until_it_expires() {
    let mut registry = Registry::default();
    let verifier = Verifier::new(&URL.parse().unwrap(), &[], 10, Metrics::register(&mut registry));
    let signer = signer();
    let token = signer.sign(&json!({"alg": "ES256"}), &json!({"aud": URL, "exp": NOW_S + 100})).unwrap();
    let credential = Credential { token: &token, key: signer.public_key() };
    let key = Ok(VapidKey::parse(signer.public_key()).unwrap().hash());
    let other = self::signer();
    for (credential, now_s, expected, counts) in [
        (credential, NOW_S, key.clone(), [0, 1, 0]),
        (credential, NOW_S, key.clone(), [1, 1, 0]),
        (credential, NOW_S + 160, key.clone(), [2, 1, 0]),
        // The same token is not valid with another key.
        (
            Credential { key: other.public_key(), ..credential },
            NOW_S,
            Err(InvalidVapid::Signature),
            [2, 1, 1],
        ),
        (credential, NOW_S + 161, Err(InvalidVapid::Expired), [2, 1, 2]),
        // An expired credential is dropped, and verified again if the clock was wrong.
        (credential, NOW_S, key, [2, 2, 2]),
        (credential, NOW_S - 90_000, Err(InvalidVapid::TooFarAhead), [2, 2, 3]),
    ] {
        assert_eq!(verifier.verify(credential, now_s), expected, "{counts:?}");
        assert_eq!(counted(&registry), counts);
    }
}

#[test]
fn the_cache_is_bounded() {
    let mut registry = Registry::default();
    for (cache_size, remembered) in [(0, 0), (4, 4)] {
        let verifier =
            Verifier::new(&URL.parse().unwrap(), &[], cache_size, Metrics::register(&mut registry));
        let signer = signer();
        for number in 0..20 {
            let claims = json!({"aud": URL, "exp": NOW_S + number});
            let token = signer.sign(&json!({"alg": "ES256"}), &claims).unwrap();
            let credential = Credential { token: &token, key: signer.public_key() };
            assert!(verifier.verify(credential, NOW_S).is_ok(), "{number}");
        }
        let known = verifier.known.as_ref().map_or(0, Cache::len);
        assert!(known <= remembered, "{known} of {remembered}");
    }
}

#[test]
fn a_credential_is_not_printed() {
    let shown = format!("{:?}", Credential { token: "hunter2", key: "hunter2" });
    assert!(!shown.contains("hunter2"), "{shown}");
}

proptest! {
    #[test]
    fn any_credential_is_verified_without_a_panic(
        token in ".{0,60}",
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
        key in ".{0,90}",
        bytes in prop::collection::vec(any::<u8>(), 65),
    ) {
        let parts: Vec<_> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        let point = URL_SAFE_NO_PAD.encode([&[4], &bytes[1..]].concat());
        for token in [token, parts.join(".")] {
            for key in [&key, &point] {
                let found = verifier(1).verify(Credential { token: &token, key }, NOW_S);
                prop_assert!(found.is_err());
            }
        }
    }

    #[test]
    fn any_claims_are_read_without_a_panic(header in json_text(), claims in json_text()) {
        let token = [&header, &claims, ""].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let point = URL_SAFE_NO_PAD.encode([4; 65]);
        let found = verifier(1).verify(Credential { token: &token, key: &point }, NOW_S);
        prop_assert!(found.is_err());
    }
}

/// Objects that look like headers and claims, some of them cut off or malformed.
fn json_text() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("\"ES256\"".to_owned()),
        Just(format!("\"{URL}\"")),
        Just(NOW_S.to_string()),
        "[\\[\\]{}\"0-9e.,-]{0,8}",
    ];
    let member = ("(alg|aud|exp|sub)", value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(",")))
}
