//! Which counter a header tells of, by its name.

use crate::triage::LimitHeaders;

/// Counters of all vendors, as their names tell them. What they count with a given vendor is another matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Counter {
    Requests,
    Tokens,
    ProjectRequests,
    ProjectTokens,
    InputTokens,
    OutputTokens,
    Images,
    MinuteRequests,
    MinuteTokens,
    DayRequests,
    DayTokens,
    MonthTokens,
    /// Mistral's older names.
    SizeMinute,
    SizeMonth,
    Size,
    /// `x-ratelimit-limit`: of what, is not said.
    Plain,
    PlainTokens,
    /// `ratelimit-limit`, of the standard's drafts.
    Draft,
    /// Cohere's trial keys.
    Trial,
}

/// How many there are.
const COUNTERS: usize = Counter::Trial as usize + 1;

/// What a header tells of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Limit,
    Remaining,
    Reset,
    Window,
}

/// The values of one counter, as they came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told<'a> {
    pub(super) limit: Option<&'a [u8]>,
    pub(super) remaining: Option<&'a [u8]>,
    pub(super) reset: Option<&'a [u8]>,
    pub(super) window: Option<&'a [u8]>,
}

/// All that a head tells.
#[derive(Debug, Default)]
pub(super) struct Counters<'a> {
    told: [Told<'a>; COUNTERS],
    /// `x-ratelimit-type`: the limit by which calls are counted.
    pub(super) of: Option<&'a [u8]>,
    /// The standard's fields.
    pub(super) standard: Option<&'a [u8]>,
    pub(super) policy: Option<&'a [u8]>,
    any: bool,
}

// === impl Counters ===

impl<'a> Counters<'a> {
    /// One header. Of several with a name the first counts.
    pub(super) fn note(&mut self, name: &[u8], value: &'a [u8], way: LimitHeaders) {
        // Nearly all headers end here.
        let (counter, part) = match name.first() {
            Some(b'x') => match of_x(&name[1..], way) {
                Some(Name::Counter(counter, part)) => (counter, part),
                Some(Name::Type) => {
                    self.of = Some(value);
                    return;
                }
                None => return,
            },
            Some(b'a') => match of_anthropic(name) {
                Some(found) => found,
                None => return,
            },
            Some(b'r') => {
                let slot = match name {
                    b"ratelimit" => &mut self.standard,
                    b"ratelimit-policy" => &mut self.policy,
                    _ => match of_draft(name) {
                        Some((counter, part)) => return self.set(counter, part, value),
                        None => return,
                    },
                };
                slot.get_or_insert(value);
                self.any = true;
                return;
            }
            _ => return,
        };
        self.set(counter, part, value);
    }

    fn set(&mut self, counter: Counter, part: Part, value: &'a [u8]) {
        let told = &mut self.told[counter as usize];
        let slot = match part {
            Part::Limit => &mut told.limit,
            Part::Remaining => &mut told.remaining,
            Part::Reset => &mut told.reset,
            Part::Window => &mut told.window,
        };
        slot.get_or_insert(value);
        self.any = true;
    }

    pub(super) const fn any(&self) -> bool {
        self.any
    }

    pub(super) const fn of(&self, counter: Counter) -> &Told<'a> {
        &self.told[counter as usize]
    }
}

enum Name {
    Counter(Counter, Part),
    Type,
}

/// Part and rest of `limit-tokens`, `remaining`, `reset-requests`.
fn part_of(name: &[u8]) -> Option<(Part, &[u8])> {
    let (part, rest) = if let Some(rest) = name.strip_prefix(b"limit") {
        (Part::Limit, rest)
    } else if let Some(rest) = name.strip_prefix(b"remaining") {
        (Part::Remaining, rest)
    } else if let Some(rest) = name.strip_prefix(b"reset") {
        (Part::Reset, rest)
    } else {
        (Part::Window, name.strip_prefix(b"renewalperiod")?)
    };
    match rest {
        [] => Some((part, rest)),
        [b'-', rest @ ..] => Some((part, rest)),
        _ => None,
    }
}

fn of_x(name: &[u8], way: LimitHeaders) -> Option<Name> {
    use Counter as C;
    if let Some(rest) = name.strip_prefix(b"-ratelimit-") {
        if rest == b"type" {
            return Some(Name::Type);
        }
        let (part, rest) = part_of(rest)?;
        let counter = match rest {
            b"" => C::Plain,
            b"requests" => C::Requests,
            b"tokens" => C::Tokens,
            b"project-requests" => C::ProjectRequests,
            b"project-tokens" => C::ProjectTokens,
            b"input-tokens" | b"tokens-prompt" => C::InputTokens,
            b"output-tokens" | b"tokens-generated" => C::OutputTokens,
            b"images" | b"input-images" => C::Images,
            b"req-minute" | b"requests-minute" => C::MinuteRequests,
            b"tokens-minute" => C::MinuteTokens,
            b"requests-day" | b"req-day" => C::DayRequests,
            b"tokens-day" => C::DayTokens,
            b"tokens-month" => C::MonthTokens,
            _ => return None,
        };
        return Some(Name::Counter(counter, part));
    }
    if let Some(rest) = name.strip_prefix(b"-tokenlimit-") {
        let (part, rest) = part_of(rest)?;
        return rest
            .is_empty()
            .then_some(Name::Counter(C::PlainTokens, part));
    }
    if let Some(rest) = name.strip_prefix(b"-ratelimitbysize-") {
        let (part, rest) = part_of(rest)?;
        let counter = match rest {
            b"minute" => C::SizeMinute,
            b"month" => C::SizeMonth,
            _ => return None,
        };
        return Some(Name::Counter(counter, part));
    }
    if way == LimitHeaders::Cohere {
        return match name {
            b"-trial-endpoint-call-limit" => Some(Name::Counter(C::Trial, Part::Limit)),
            b"-trial-endpoint-call-remaining" => Some(Name::Counter(C::Trial, Part::Remaining)),
            _ => None,
        };
    }
    None
}

/// The priority and fast tiers' counters, which have other names, are not the ones that hold calls back.
fn of_anthropic(name: &[u8]) -> Option<(Counter, Part)> {
    let rest = name.strip_prefix(b"anthropic-ratelimit-")?;
    let (counter, rest) = if let Some(rest) = rest.strip_prefix(b"requests-") {
        (Counter::MinuteRequests, rest)
    } else if let Some(rest) = rest.strip_prefix(b"input-tokens-") {
        (Counter::InputTokens, rest)
    } else if let Some(rest) = rest.strip_prefix(b"output-tokens-") {
        (Counter::OutputTokens, rest)
    } else {
        (Counter::MinuteTokens, rest.strip_prefix(b"tokens-")?)
    };
    let (part, rest) = part_of(rest)?;
    rest.is_empty().then_some((counter, part))
}

fn of_draft(name: &[u8]) -> Option<(Counter, Part)> {
    if let Some(rest) = name.strip_prefix(b"ratelimitbysize-") {
        let (part, rest) = part_of(rest)?;
        return rest.is_empty().then_some((Counter::Size, part));
    }
    let (part, rest) = part_of(name.strip_prefix(b"ratelimit-")?)?;
    rest.is_empty().then_some((Counter::Draft, part))
}
