//! Files that are part of the binary: the three of the page at `/`, and the client module for pages
//! elsewhere.

use hyper::{
    Response, header,
    header::{HeaderName, HeaderValue},
};

use crate::{body::Body, route::Route};

/// Answers one of these files; none if the route names none.
pub(crate) fn answer(route: &Route) -> Option<Response<Body>> {
    let (media_type, text) = match route {
        Route::Cancel(_) | Route::Channel(_) | Route::Events | Route::Status(_) => return None,
        Route::Upstream(..) => return None,
        Route::ClientModule => {
            ("text/javascript; charset=utf-8", include_str!("../../../client/dist/fanfare.js"))
        }
        Route::Page => ("text/html; charset=utf-8", include_str!("page/index.html")),
        Route::PageScript => ("text/javascript; charset=utf-8", include_str!("page/page.js")),
        Route::PageStyle => ("text/css; charset=utf-8", include_str!("page/page.css")),
    };
    let mut response = Response::new(Body::full(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Some(response)
}

/// Nothing but the hub's own files runs, and nothing is sent or framed elsewhere.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_served_strictly() {
        for (path, media_type) in [
            ("/", "text/html; charset=utf-8"),
            ("/client.js", "text/javascript; charset=utf-8"),
            ("/page.css", "text/css; charset=utf-8"),
            ("/page.js", "text/javascript; charset=utf-8"),
        ] {
            let response = answer(&Route::parse(path).unwrap()).unwrap();
            let headers = response.headers();
            assert_eq!(headers[header::CONTENT_TYPE], media_type);
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"));
        }
        assert!(answer(&Route::Events).is_none());
    }
}
