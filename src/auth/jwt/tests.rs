//! Tokens: the RFC's own, ours, and everything that is nearly one.

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);

fn secret() -> Secret {
    Secret::new([7; 32])
}

fn earliest() -> SystemTime {
    SystemTime::UNIX_EPOCH + EARLIEST
}

fn now() -> SystemTime {
    earliest() + DAY
}

fn issued(kind: TokenKind) -> Issued {
    issue(&secret(), kind, "5f1c", "pi@example.org", "", now(), DAY).expect("a token")
}

fn refusal(token: &str) -> TokenError {
    verify(&secret(), TokenKind::Access, token, now()).expect_err(token)
}

/// A token of ours with other words in it.
fn forged(header: &str, claims: &str) -> String {
    sign(&secret().0, header.as_bytes(), claims.as_bytes())
}

fn claims_json(exp: &str, more: &str) -> String {
    format!(r#"{{"sub":"5f1c","email":"e","exp":{exp},"type":"access","iat":1,"jti":"j"{more}}}"#)
}

fn epoch(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

#[test]
fn rfc_7515_appendix_a_1() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = URL_SAFE_NO_PAD.decode(key).expect("the RFC's key");
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let payload = b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    assert_eq!(open(&key, token), Ok(payload.to_vec()));
    assert_eq!(sign(&key, b"{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}", payload), token);
    assert_eq!(open(&key[1..], token), Err(TokenError::Signature));
    // Signed as it should be, and it still says nothing we ask for.
    assert!(matches!(claims::read(payload), Err(Fault::Missing(_))));
}

#[test]
fn a_token_says_what_it_was_issued_for() {
    let before = issued(TokenKind::Access);
    let after = verify(&secret(), TokenKind::Access, &before.token, now()).expect("our own");
    assert_eq!(after, before.claims);
    assert_eq!((after.subject.as_str(), after.email.as_str()), ("5f1c", "pi@example.org"));
    assert_eq!((after.issued, after.expires), (now(), now() + DAY));
    assert_ne!(after.id, issued(TokenKind::Access).claims.id);
    assert_eq!(verify(&Secret::new([8; 32]), TokenKind::Access, &before.token, now()), Err(TokenError::Signature));
}

#[test]
fn a_refresh_token_is_no_access_token_nor_the_other_way_round() {
    let (access, refresh) = (issued(TokenKind::Access).token, issued(TokenKind::Refresh).token);
    assert_eq!(refusal(&refresh), TokenError::Kind { wanted: TokenKind::Access });
    assert_eq!(
        verify(&secret(), TokenKind::Refresh, &access, now()),
        Err(TokenError::Kind { wanted: TokenKind::Refresh })
    );
    assert!(verify(&secret(), TokenKind::Refresh, &refresh, now()).is_ok());
}

#[test]
fn one_flipped_bit_anywhere_is_noticed() {
    let token = issued(TokenKind::Access).token;
    for at in 0..token.len() {
        // The eighth bit makes it no text, and only text comes this far.
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let flipped = String::from_utf8(bytes).expect("ASCII");
            assert!(matches!(refusal(&flipped), TokenError::Malformed | TokenError::Signature), "{flipped}");
        }
    }
}

#[test]
fn a_token_has_three_parts_and_nothing_more() {
    let token = issued(TokenKind::Access).token;
    for end in 0..token.len() {
        assert!(matches!(refusal(&token[..end]), TokenError::Malformed | TokenError::Signature), "cut at {end}");
    }
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let (header, payload) = signed.split_once('.').expect("three parts");
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}..{payload}.{signature}"),
        format!("{token}="),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{}", &signature[..42]),
        format!("{header}.{payload}.{signature}A"),
        format!("{header}.{payload}.é"),
        "\0.\0.\0".into(),
    ] {
        assert!(matches!(refusal(&bad), TokenError::Malformed | TokenError::Signature), "{bad:?}");
    }
    // Even signed: a fourth part, padding, and the other alphabet.
    let resigned = |signed: &str| format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac(&secret().0, signed.as_bytes())));
    assert_eq!(resigned(signed), token);
    for bad in [format!("{signed}.{payload}"), format!("{header}=.{payload}"), format!("{header}.{payload}+/")] {
        assert_eq!(refusal(&resigned(&bad)), TokenError::Malformed, "{bad}");
    }
    let long = forged(HS256, &claims_json("9999999999", &format!(r#","x":"{}""#, "x".repeat(MAX_TOKEN_BYTES))));
    assert_eq!(refusal(&long), TokenError::TooLong);
    let email = "e".repeat(MAX_TOKEN_BYTES);
    assert!(matches!(issue(&secret(), TokenKind::Access, "s", &email, "", now(), DAY), Err(IssueError::TooLong)));
}

#[test]
fn no_header_talks_us_into_another_algorithm() {
    let claims = claims_json("9999999999", "");
    assert!(verify(&secret(), TokenKind::Access, &forged(HS256, &claims), now()).is_ok());
    for alg in ["none", "None", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "PS256", "hs256"] {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
        let token = forged(&header, &claims);
        assert!(matches!(refusal(&token), TokenError::Header(Fault::Wrong { name: "alg", .. })), "{alg}");
        let (signed, _) = token.rsplit_once('.').expect("three parts");
        assert_eq!(refusal(&format!("{signed}.")), TokenError::Signature, "{alg} without a signature");
        // As the header has it: with HMAC-SHA-384 and the same key.
        let mut mac = Hmac::<sha2::Sha384>::new_from_slice(&secret().0).expect("any length");
        mac.update(signed.as_bytes());
        let other = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        assert_eq!(refusal(&format!("{signed}.{other}")), TokenError::Signature, "{alg}");
    }
    let critical = forged(r#"{"alg":"HS256","crit":["exp"]}"#, &claims);
    assert_eq!(refusal(&critical), TokenError::Header(Fault::Unwanted("crit")));
    let twice = forged(r#"{"alg":"HS256","alg":"HS256"}"#, &claims);
    assert_eq!(refusal(&twice), TokenError::Header(Fault::NotAnObject));
    let twice = forged(HS256, &claims_json("9999999999", r#","exp":9999999999"#));
    assert_eq!(refusal(&twice), TokenError::Claims(Fault::NotAnObject));
}

#[test]
fn a_token_ends_a_minute_after_its_time_and_not_before() {
    let token = issued(TokenKind::Access).token;
    let at = |now| verify(&secret(), TokenKind::Access, &token, now).map(|_| ());
    let end = now() + DAY + LEEWAY;
    assert_eq!(at(end - Duration::from_nanos(1)), Ok(()));
    assert_eq!(at(end), Err(TokenError::Expired));
    assert_eq!(at(end + 400 * DAY), Err(TokenError::Expired));
    // Issued in what our clock takes for the future.
    assert_eq!(at(now() - SECOND), Ok(()));
    assert_eq!(at(SystemTime::UNIX_EPOCH), Ok(()));

    let half = forged(HS256, &claims_json(&format!("{}.5", epoch(now())), ""));
    let at = |now| verify(&secret(), TokenKind::Access, &half, now).map(|_| ());
    assert_eq!(at(now() + LEEWAY + Duration::from_millis(499)), Ok(()));
    assert_eq!(at(now() + LEEWAY + Duration::from_millis(500)), Err(TokenError::Expired));
}

#[test]
fn a_token_for_later_is_not_taken_now() {
    let start = format!(r#","nbf":{}"#, epoch(now()));
    let token = forged(HS256, &claims_json("9999999999", &start));
    let at = |now| verify(&secret(), TokenKind::Access, &token, now).map(|_| ());
    assert_eq!(at(now() - LEEWAY), Ok(()));
    assert_eq!(at(now() - LEEWAY - Duration::from_nanos(1)), Err(TokenError::NotYet));
    let text = forged(HS256, &claims_json("9999999999", r#","nbf":"0""#));
    assert!(matches!(refusal(&text), TokenError::Claims(Fault::Wrong { name: "nbf", .. })));
}

#[test]
fn the_end_of_time_is_no_crash() {
    // Within what a clock can say, and beyond.
    for exp in ["9223372036854775807", "9223372036854775800", "9.2e18"] {
        assert!(verify(&secret(), TokenKind::Access, &forged(HS256, &claims_json(exp, "")), now()).is_ok(), "{exp}");
    }
    for exp in ["9223372036854775808", "18446744073709551615", "1e300", "-1", "\"9999999999\""] {
        let refused = refusal(&forged(HS256, &claims_json(exp, "")));
        assert!(matches!(refused, TokenError::Claims(Fault::Wrong { name: "exp", .. })), "{exp}");
    }
    let endless = issue(&secret(), TokenKind::Access, "s", "e", "", now(), Duration::MAX).expect("a token");
    assert_eq!(endless.claims.expires, now());
}

#[test]
fn a_clock_that_was_never_set_issues_nothing() {
    let at = |now| issue(&secret(), TokenKind::Access, "s", "e", "", now, DAY);
    assert!(matches!(at(earliest() - SECOND), Err(IssueError::ClockUnset)));
    assert!(at(earliest()).is_ok());
    let date = humantime::format_rfc3339_seconds(earliest()).to_string();
    assert_eq!(date, "2026-11-01T00:00:00Z");
}

#[test]
fn a_secret_is_never_printed() {
    let secret = Secret::fresh().expect("random bytes");
    assert_eq!(format!("{secret:?}"), "Secret(…)");
    assert_ne!(secret, Secret::fresh().expect("random bytes"));
    assert_eq!(Secret::new(*secret.expose()), secret);
    let issued = issued(TokenKind::Access);
    assert!(!format!("{issued:?}").contains(&issued.token));
}
