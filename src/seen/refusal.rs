//! What the API server refused.

use jiff::Timestamp;

/// The API server's refusal of something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refusal<T> {
    /// What was refused.
    pub what: T,
    /// The server's words.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// How often in a row, from 1.
    pub attempts: u32,
}

impl<T: PartialEq> Refusal<T> {
    /// The refusal that follows an earlier one. Words that differ in their numbers alone stay as they
    /// were: each time another port or count would be told anew for as long as it lasts.
    #[must_use]
    pub fn after(earlier: Option<&Self>, what: T, message: String, at: Timestamp) -> Self {
        let earlier = earlier.filter(|it| it.what == what);
        let same = earlier.filter(|it| without_numbers(&it.message).eq(without_numbers(&message)));
        Self {
            message: same.map_or(message, |it| it.message.clone()),
            attempts: earlier.map_or(0, |it| it.attempts).saturating_add(1),
            what,
            at,
        }
    }
}

fn without_numbers(words: &str) -> impl Iterator<Item = char> {
    words.chars().filter(|it| !it.is_ascii_digit())
}
