//! `fanfare channels`: the channels of a hub, as a table or as lines of JSON.

use serde::Deserialize;
use serde_json::Value;

use super::{
    admin::Admin,
    amount,
    hub::{ClientError, encode},
    table::{Column, Table},
};
use crate::{limits::CHANNELS_PAGE, terminal};

/// Which channels to list, and how.
#[derive(Debug)]
pub(crate) struct Channels {
    /// The hub.
    pub(crate) admin: Admin,
    /// What is asked of it.
    pub(crate) query: Query,
    /// How many at most; none for all.
    pub(crate) limit: Option<u64>,
    /// Whether a channel is printed as a line of JSON.
    pub(crate) json: bool,
}

/// Which channels, in which order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// What their names begin with.
    pub(crate) prefix: Option<String>,
    /// What stands anywhere in them.
    pub(crate) contains: Option<String>,
    /// By what they are sorted, if it is said.
    pub(crate) sort: Option<String>,
}

/// A page of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Page {
    /// As the hub tells them.
    pub(crate) channels: Vec<Value>,
    /// What to ask for the next page with.
    next: Option<String>,
    /// How many there are in all.
    total: Option<u64>,
}

/// What is known of one. Hubs of other versions may tell less.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Facts {
    /// Its name.
    pub(crate) channel: String,
    /// Subscriptions that match it.
    pub(crate) subscribers: u64,
    /// Events that it keeps.
    pub(crate) ring_events: u64,
    /// And their bytes.
    pub(crate) ring_bytes: u64,
    /// Events since it exists.
    pub(crate) events_total: Option<u64>,
    /// Events a second.
    pub(crate) rate_per_s: Option<f64>,
    /// The reason with which it was closed, if it was.
    pub(crate) closed: Option<String>,
}

/// Prints channels, a page after the other.
pub(crate) async fn run(channels: Channels) -> Result<(), ClientError> {
    let mut table = Table::new(COLUMNS);
    let (mut printed, mut after) = (0, None);
    loop {
        let left = channels.limit.map_or(CHANNELS_PAGE, |limit| limit.saturating_sub(printed));
        let page = channels.query.page(&channels.admin, left.min(CHANNELS_PAGE), after).await?;
        let text = if channels.json {
            page.channels.iter().map(|channel| format!("{channel}\n")).collect()
        } else {
            let rows: Vec<_> = page.facts().iter().map(Facts::row).collect();
            let head = if printed == 0 { table.head(&rows) } else { String::new() };
            head + &table.page(&rows)
        };
        printed += page.channels.len() as u64;
        if printed == 0 {
            terminal::say(&channels.query.nothing());
            return Ok(());
        }
        terminal::out(&text).map_err(ClientError::Output)?;
        after = page.next;
        let is_enough = channels.limit.is_some_and(|limit| limit <= printed);
        if is_enough && after.is_some() && !channels.json {
            let of =
                page.total.map_or_else(String::new, |all| format!(" of {}", amount::count(all)));
            terminal::say(&format!("{printed}{of} channels; --all prints all of them"));
        }
        if is_enough || after.is_none() || page.channels.is_empty() {
            return Ok(());
        }
    }
}

impl Query {
    /// Asks for a page that begins after the one before.
    pub(crate) async fn page(
        &self,
        admin: &Admin,
        limit: u64,
        after: Option<String>,
    ) -> Result<Page, ClientError> {
        admin.get(&self.path(limit, after)).await
    }

    fn path(&self, limit: u64, after: Option<String>) -> String {
        let mut path = format!("/api/channels?limit={limit}");
        let parameters = [
            ("prefix", self.prefix.as_ref()),
            ("contains", self.contains.as_ref()),
            ("sort", self.sort.as_ref()),
            ("after", after.as_ref()),
        ];
        for (name, text) in parameters {
            path.extend(text.map(|text| format!("&{name}={}", encode(text))));
        }
        path
    }

    fn nothing(&self) -> String {
        let begins = self.prefix.iter().map(|text| format!(" that begins with {text}"));
        let contains = self.contains.iter().map(|text| format!(" that contains {text}"));
        let which: Vec<_> = begins.chain(contains).map(|words| amount::visible(&words)).collect();
        format!("there is no channel{}", which.join(" and"))
    }
}

impl Page {
    /// What it says of each channel.
    pub(crate) fn facts(&self) -> Vec<Facts> {
        let facts = |channel: &Value| Facts::deserialize(channel).unwrap_or_default();
        self.channels.iter().map(facts).collect()
    }
}

impl Facts {
    pub(super) fn row(&self) -> [String; 6] {
        let unknown = || "-".to_owned();
        let closed = self.closed.iter().map(|reason| format!(" ({reason})"));
        let name: String = [self.channel.clone()].into_iter().chain(closed).collect();
        [
            amount::count(self.subscribers),
            self.rate_per_s.map_or_else(unknown, amount::rate),
            self.events_total.map_or_else(unknown, amount::count),
            amount::count(self.ring_events),
            amount::bytes(self.ring_bytes as f64),
            amount::visible(&name),
        ]
    }
}

/// The name is last: it may be long, and the numbers stay where they are.
pub(super) const COLUMNS: [Column; 6] = [
    Column::Right("SUBSCRIBERS"),
    Column::Right("EVENTS/S"),
    Column::Right("EVENTS"),
    Column::Right("KEPT"),
    Column::Right("BYTES"),
    Column::Left("CHANNEL"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_encoded() {
        let query = Query {
            prefix: Some("orders/4 2".into()),
            contains: Some("a&b".into()),
            sort: Some("rate".into()),
        };
        let expected = "/api/channels?limit=5&prefix=orders%2F4%202&contains=a%26b&sort=rate\
                        &after=3%3Anews";
        assert_eq!(query.path(5, Some("3:news".into())), expected);
        assert_eq!(Query::default().path(5, None), "/api/channels?limit=5");
    }

    #[test]
    fn a_hub_may_tell_less() {
        let text = r#"{"channels": [{"channel": "a", "later": {}}, 7]}"#;
        let page: Page = serde_json::from_str(text).unwrap();
        let rows: Vec<_> = page.facts().iter().map(Facts::row).collect();
        assert_eq!(rows[0], ["0", "-", "-", "0", "0 B", "a"]);
        assert_eq!(rows[1][5], "");
    }
}
