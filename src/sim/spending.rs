//! What an admin key may read of the account's spending.

/// Told, not enforced: calls are refused by the balance alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spending {
    /// Costs of the month so far, in USD.
    pub spent_usd: f64,
    /// The organization's spend limit in USD; `None`: there is none.
    pub limit_usd: Option<f64>,
    /// The limit stops calls; else it only alerts.
    pub enforcing: bool,
    /// Projects that are archived.
    pub archived: Vec<String>,
}
