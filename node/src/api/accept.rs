//! Which form of an answer a client would rather have (RFC 9110, section 12.5.1).

use super::health_forms::HEALTH_JSON;
use axum::http::{HeaderMap, header};

/// What the headers `Accept` of a request ask for.
#[derive(Debug)]
pub struct Accept(Vec<Wish>);

/// One of the forms named.
#[derive(Debug)]
struct Wish {
    media: String,
    version: Option<String>,
    /// From 0, not at all, to 1.
    weight: f32,
}

impl Accept {
    /// Reads all of them.
    pub fn of(headers: &HeaderMap) -> Self {
        let lists = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        Self(lists.flat_map(|list| list.split(',')).map(Wish::read).collect())
    }

    /// How much JSON is wanted; 0 when it is not named.
    pub fn json(&self) -> f32 {
        self.weight(|wish| wish.media == "application/json")
    }

    /// How much the health check format is.
    pub fn health_json(&self) -> f32 {
        self.weight(|wish| wish.media == HEALTH_JSON)
    }

    /// How much OpenMetrics is.
    pub fn open_metrics(&self) -> f32 {
        self.weight(|wish| wish.media == "application/openmetrics-text")
    }

    /// How much Prometheus' own format is, by its version: a browser's `text/plain` does not mean it.
    pub fn prometheus(&self) -> f32 {
        self.weight(|wish| wish.media == "text/plain" && wish.version.as_deref() == Some("0.0.4"))
    }

    /// Where metrics are told in any case: would their reader rather have OpenMetrics than plain text?
    pub fn rather_open_metrics(&self) -> bool {
        let open = self.open_metrics();
        let plain = self.weight(|wish| wish.media == "text/plain" && wish.version.is_none());
        open > 0.0 && open >= plain.max(self.prometheus())
    }

    fn weight(&self, is_meant: impl Fn(&Wish) -> bool) -> f32 {
        self.0.iter().filter(|wish| is_meant(wish)).map(|wish| wish.weight).fold(0.0, f32::max)
    }
}

impl Wish {
    fn read(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut wish = Self { media, version: None, weight: 1.0 };
        for part in parts {
            let Some((name, value)) = part.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => wish.version = Some(value.to_owned()),
                "q" => wish.weight = value.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0),
                _ => {}
            }
        }
        wish
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn accept(lists: &[&'static str]) -> Accept {
        let named = lists.iter().map(|list| (header::ACCEPT, HeaderValue::from_static(list)));
        Accept::of(&named.collect())
    }

    #[test]
    fn forms_have_weights() {
        let found =
            accept(&["Application/Health+JSON ; q=0.25, text/plain; Version=\"0.0.4\"", "application/json;q=x"]);
        assert_eq!((found.health_json(), found.prometheus(), found.json()), (0.25, 1.0, 1.0));
        assert_eq!(found.open_metrics(), 0.0);
        let none = accept(&["text/html, text/plain, */*", ""]);
        assert_eq!((none.health_json(), none.prometheus(), none.json()), (0.0, 0.0, 0.0));
    }

    #[test]
    fn the_greater_weight_decides_about_metrics() {
        for (list, open) in [
            ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", true),
            ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5", false),
            ("application/openmetrics-text;q=0.5, text/plain", false),
            ("application/openmetrics-text, text/plain;version=0.0.4", true),
            ("application/openmetrics-text;q=0", false),
            ("*/*", false),
        ] {
            assert_eq!(accept(&[list]).rather_open_metrics(), open, "{list}");
        }
    }
}
