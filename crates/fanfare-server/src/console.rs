//! The operators' console at `/` of the admin listener: files that are part of the binary.
//!
//! Policy: the page brings nothing that the hub does not serve itself, runs no script but its own,
//! and cannot turn text into markup: trusted types forbid it whatever the page's code does.

use hyper::{
    Response, header,
    header::{HeaderName, HeaderValue},
};

use crate::body::Body;

/// Answers one of the console's files; none if the path is not the console's.
pub(crate) fn answer(path: &str) -> Option<Response<Body>> {
    let (_, media_type, text) = FILES.iter().find(|(file, ..)| *file == path)?;
    let mut response = Response::new(Body::full(*text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Some(response)
}

/// A script of the console by the name of its file.
macro_rules! script {
    ($name:literal) => {
        (concat!("/console/", $name), SCRIPT, include_str!(concat!("console/", $name)))
    };
}

/// Path, media type and text of each file.
const FILES: [(&str, &str, &str); 18] = [
    ("/", "text/html; charset=utf-8", include_str!("console/index.html")),
    ("/console.css", "text/css; charset=utf-8", include_str!("console/console.css")),
    ("/console.js", SCRIPT, include_str!("console/console.js")),
    script!("api.js"),
    script!("channel.js"),
    script!("channels.js"),
    script!("chart.js"),
    script!("dialog.js"),
    script!("dom.js"),
    script!("drain.js"),
    script!("feed.js"),
    script!("format.js"),
    script!("history.js"),
    script!("limits.js"),
    script!("overview.js"),
    script!("stream.js"),
    script!("tail.js"),
    script!("workers.js"),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Nothing but the hub's own files runs, and nothing is sent or framed elsewhere.
const HEADERS: [(HeaderName, &str); 2] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;
    use crate::{
        metrics::{Figures, LimitFigures},
        testing,
    };

    #[test]
    fn every_file_is_served_strictly() {
        for (path, ..) in FILES {
            let response = answer(path).unwrap();
            let headers = response.headers();
            let media_type = headers[header::CONTENT_TYPE].to_str().unwrap();
            assert!(media_type.ends_with("; charset=utf-8"), "{path}");
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"));
        }
        assert!(answer("/console/").is_none() && answer("/console/none.js").is_none());
    }

    #[test]
    fn no_file_is_forgotten() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console");
        let files = fs::read_dir(folder).unwrap();
        let there = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let name = |path: &str| match path.rsplit('/').next().unwrap() {
            "" => "index.html".to_owned(),
            name => name.to_owned(),
        };
        let served: BTreeSet<_> = FILES.iter().map(|(path, ..)| name(path)).collect();
        assert_eq!(served, there.collect());
    }

    #[tokio::test]
    async fn every_limit_has_its_words() {
        let (.., text) = FILES.iter().find(|(path, ..)| *path == "/console/limits.js").unwrap();
        for LimitFigures { limit: name, .. } in Figures::of(&testing::shared()).limits {
            assert!(text.contains(&format!("\n  {name}: \"")), "{name}");
        }
    }

    #[test]
    fn nothing_is_inline_or_from_elsewhere() {
        for (path, _, text) in FILES {
            for foreign in ["https://", "//cdn", "style=", "onclick=", "innerHTML", "eval("] {
                assert!(!text.contains(foreign), "{path} has {foreign}");
            }
        }
        assert_eq!(FILES[0].2.matches("<script").count(), 1);
        assert!(!FILES[0].2.contains("<style"));
    }
}
