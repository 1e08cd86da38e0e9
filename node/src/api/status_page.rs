//! The status page at `/`. It is part of the program and asks this API; nothing is loaded from elsewhere, and the browser is told so.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::freshness::not_modified;

/// Nothing but what this agent serves; no markup of ours holds script or style, so none that was slipped in runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The page.
pub async fn page(headers: HeaderMap) -> Response {
    asset(&headers, "text/html; charset=utf-8", include_str!("../page/page.html"))
}

/// Its style.
pub async fn style(headers: HeaderMap) -> Response {
    asset(&headers, "text/css; charset=utf-8", include_str!("../page/page.css"))
}

/// Its program.
pub async fn script(headers: HeaderMap) -> Response {
    asset(&headers, "text/javascript; charset=utf-8", include_str!("../page/page.js"))
}

fn asset(headers: &HeaderMap, media: &'static str, text: &'static str) -> Response {
    let hash = quorate_core::hash::bytes(text.as_bytes());
    let tag = HeaderValue::from_str(&format!("\"{hash:016x}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    if let Some(unchanged) = not_modified(headers, &tag) {
        return unchanged;
    }
    let told = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media)),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    (told, text).into_response()
}
