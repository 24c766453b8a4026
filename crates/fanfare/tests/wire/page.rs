//! The page at `/` as a browser gets it.

use crate::support::{
    http::{call, get},
    hub::Hub,
};

#[test]
fn its_files_are_served_strictly() {
    let hub = Hub::start(&[]);
    for (target, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
    ] {
        let answer = get(hub.public(), target);
        assert_eq!((answer.status(), answer.get("content-type")), (200, Some(media_type)));
        let policy = answer.get("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(
            !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(answer.get("x-content-type-options"), Some("nosniff"));
        assert!(!answer.text().contains("innerHTML"), "data is shown as text only");
    }
}

#[test]
fn a_foreign_page_cannot_read_it() {
    let hub = Hub::start(&[]);
    let answer = call(hub.public(), "GET", "/", &[("Origin", "https://evil.example")], b"");
    assert_eq!(answer.get("access-control-allow-origin"), None);
    assert_eq!(answer.get("vary"), Some("Origin"));
}
