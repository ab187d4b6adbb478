//! The provider's account: refilling buckets as OpenAI's, and what it says about them.
//!
//! Stands where `weir::sim`'s meter will stand; the world sees nothing but [`Account::admit`] and [`Account::settle`].

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    demand::Script,
    dice::Dice,
    hidden::{Charge, Counted, Heads, Hidden, MINUTE, Words},
};

/// Others' calls take this many tokens.
const FOREIGN_TOKENS: f64 = 800.0;

/// The account of one run; times are seconds since its start.
#[derive(Debug)]
pub(crate) struct Account {
    hidden: Hidden,
    /// In the order of [`Counted::ALL`].
    buckets: [Option<Pair>; 2],
    foreign: Dice,
    next_foreign: f64,
    /// Others' calls that were let in, and all of them.
    pub(crate) others: [u64; 2],
}

/// The minute's bucket and the shorter one inside it.
#[derive(Debug)]
struct Pair {
    limit: f64,
    minute: Bucket,
    short: Option<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    size: f64,
    per_second: f64,
    used: f64,
    at: f64,
}

/// The answer to a request, but for its content.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) refusal: Option<Refusal>,
}

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

/// A bucket has no room.
struct Full {
    counted: Counted,
    limit: f64,
    used: f64,
    /// `None`: more than the whole bucket.
    wait: Option<f64>,
}

// === impl Account ===

impl Account {
    pub(crate) fn new(hidden: &Hidden, seed: u64) -> Self {
        let pair = |counted| {
            let limit = hidden.limit(counted)?;
            let size = |ms: u64| (limit * ms as f64 / 60_000.0).max(1.0);
            Some(Pair {
                limit,
                minute: Bucket::new(limit, limit / MINUTE),
                short: hidden
                    .window_ms
                    .map(|ms| Bucket::new(size(ms), limit / MINUTE)),
            })
        };
        Self {
            buckets: Counted::ALL.map(pair),
            hidden: hidden.clone(),
            foreign: Dice::new(seed, "foreign"),
            next_foreign: hidden.foreign.map_or(f64::INFINITY, |foreign| foreign.from),
            others: [0; 2],
        }
    }

    /// A request has arrived. Requests must come in the order of time.
    pub(crate) fn admit(&mut self, now: f64, script: &Script) -> Answer {
        self.advance(now);
        let amounts = [1.0, script.estimate() as f64];
        let full = self.take(now, amounts).err();
        let mut headers = self.heads();
        let refusal = full.map(|full| self.refuse(&full, amounts, &mut headers));
        Answer { headers, refusal }
    }

    /// An admitted request is over.
    pub(crate) fn settle(&mut self, now: f64, script: &Script) {
        self.advance(now);
        if self.hidden.charge == Charge::Usage
            && let [_, Some(tokens)] = &mut self.buckets
        {
            let more = script.usage() as f64 - script.estimate() as f64;
            tokens.give(more);
        }
    }

    /// Others' calls and changes of the limits, up to now.
    fn advance(&mut self, now: f64) {
        while self.next_foreign <= now {
            let at = self.next_foreign;
            self.refill(at);
            let admitted = self.take(at, [1.0, FOREIGN_TOKENS]).is_ok();
            self.others[0] += u64::from(admitted);
            self.others[1] += 1;
            self.next_foreign += self.foreign.gap(self.foreign_rate(at));
        }
        self.refill(now);
    }

    /// Others' calls a second: their share of the limit that binds them.
    fn foreign_rate(&self, at: f64) -> f64 {
        let rate = |counted, amount| Some(self.hidden.limit(counted)? / MINUTE / amount);
        let most = f64::min(
            rate(Counted::Requests, 1.0).unwrap_or(f64::INFINITY),
            rate(Counted::Tokens, FOREIGN_TOKENS).unwrap_or(f64::INFINITY),
        );
        most * self.hidden.factor(at) * self.hidden.foreign_share(at)
    }

    fn refill(&mut self, now: f64) {
        let factor = self.hidden.factor(now);
        for pair in self.buckets.iter_mut().flatten() {
            pair.refill(now, factor);
        }
    }

    /// All buckets or none.
    fn take(&mut self, now: f64, amounts: [f64; 2]) -> Result<(), Full> {
        let factor = self.hidden.factor(now);
        for ((pair, counted), amount) in self.buckets.iter().zip(Counted::ALL).zip(amounts) {
            if let Some(pair) = pair {
                pair.check(amount).map_err(|wait| Full {
                    counted,
                    limit: pair.limit * factor,
                    used: pair.minute.used,
                    wait,
                })?;
            }
        }
        for (pair, amount) in self.buckets.iter_mut().zip(amounts) {
            if let Some(pair) = pair {
                pair.give(amount);
            }
        }
        Ok(())
    }

    fn heads(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (pair, word) in self.buckets.iter().zip(["requests", "tokens"]) {
            let Some(pair) = pair else { continue };
            let bucket = &pair.minute;
            let (limit, left) = match self.hidden.heads {
                Heads::OpenAi => (
                    bucket.size as i64,
                    (bucket.size - bucket.used).max(0.0) as i64,
                ),
                Heads::MinusOne => (-1, -1),
                Heads::Zero => (0, 0),
                Heads::Nothing => continue,
            };
            let reset = match self.hidden.heads {
                Heads::OpenAi => format!("{:.3}s", bucket.used / bucket.per_second),
                _ => "0s".to_owned(),
            };
            put(
                &mut headers,
                &format!("x-ratelimit-limit-{word}"),
                &limit.to_string(),
            );
            put(
                &mut headers,
                &format!("x-ratelimit-remaining-{word}"),
                &left.to_string(),
            );
            put(&mut headers, &format!("x-ratelimit-reset-{word}"), &reset);
        }
        headers
    }

    fn refuse(&self, full: &Full, amounts: [f64; 2], headers: &mut HeaderMap) -> Refusal {
        let (kind, counter, amount) = match full.counted {
            Counted::Requests => ("requests", "requests per min (RPM)", amounts[0]),
            Counted::Tokens => ("tokens", "tokens per min (TPM)", amounts[1]),
        };
        let (limit, used) = (full.limit, full.used.ceil());
        let message = match (self.hidden.words, full.wait) {
            (Words::Plain, _) => "Too many requests. Slow down.".to_owned(),
            (Words::Numbers, None) => format!(
                "Request too large for gpt-4o in organization org-1 on {counter}: Limit {limit}, Requested {amount}. The \
                 input or output tokens must be reduced in order to run successfully."
            ),
            (Words::Numbers, Some(wait)) => format!(
                "Rate limit reached for gpt-4o in organization org-1 on {counter}: Limit {limit}, Used {used}, Requested \
                 {amount}. Please try again in {:.3}s.",
                (wait * 1_000.0).ceil() / 1_000.0
            ),
        };
        if let (Words::Numbers, Some(wait)) = (self.hidden.words, full.wait) {
            put(
                headers,
                "retry-after-ms",
                &(wait * 1_000.0).ceil().to_string(),
            );
        }
        Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            body: format!(
                r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":"rate_limit_exceeded"}}}}"#
            ),
        }
    }
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("made of letters and dashes");
    let value = HeaderValue::from_str(value).expect("made of digits and letters");
    headers.insert(name, value);
}

// === impl Pair ===

impl Pair {
    fn refill(&mut self, now: f64, factor: f64) {
        let limit = self.limit * factor;
        self.minute.resize(limit, limit / MINUTE);
        self.minute.refill(now);
        if let Some(short) = &mut self.short {
            let size = short.size / short.per_second * limit / MINUTE;
            short.resize(size.max(1.0), limit / MINUTE);
            short.refill(now);
        }
    }

    /// The wait, if there is no room.
    fn check(&self, amount: f64) -> Result<(), Option<f64>> {
        self.minute.check(amount)?;
        match &self.short {
            // A call larger than the short window passes when that window is untouched.
            Some(short) => short.check(amount.min(short.size)),
            None => Ok(()),
        }
    }

    /// Takes, or gives back what is below zero.
    fn give(&mut self, amount: f64) {
        self.minute.used = (self.minute.used + amount).max(0.0);
        if let Some(short) = &mut self.short
            && amount > 0.0
        {
            short.used = (short.used + amount).min(short.size);
        }
    }
}

// === impl Bucket ===

impl Bucket {
    fn new(size: f64, per_second: f64) -> Self {
        Self {
            size,
            per_second,
            used: 0.0,
            at: 0.0,
        }
    }

    /// Another size: as full as it was, in its share.
    fn resize(&mut self, size: f64, per_second: f64) {
        self.used *= size / self.size;
        (self.size, self.per_second) = (size, per_second);
    }

    fn refill(&mut self, now: f64) {
        let passed = (now - self.at).max(0.0);
        self.used = (self.used - passed * self.per_second).max(0.0);
        self.at = now;
    }

    fn check(&self, amount: f64) -> Result<(), Option<f64>> {
        if amount > self.size {
            return Err(None);
        }
        let over = self.used + amount - self.size;
        match over > 1e-6 {
            true => Err(Some(over / self.per_second)),
            false => Ok(()),
        }
    }
}
