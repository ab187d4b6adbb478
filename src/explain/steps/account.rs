//! What to do about money, limits, keys and permissions: lists of data.

use super::List;

/// Between these stands the step about organisation and project, which the evidence fills in.
pub(super) const MONEY_BEFORE: List = &[
    (
        "Payment record: is the last charge paid? A declined card or an open invoice stops everything, whatever the balance says.",
        "{billing}, history",
    ),
    (
        "Balance: is there credit above zero, and has it not expired? After a top-up allow some minutes.",
        "{billing}, overview",
    ),
];

pub(super) const MONEY_AFTER: List = &[
    (
        "Auto recharge: if it should have filled up, is it on, with a card that works, and is its own monthly cap not reached?",
        "{billing}, auto recharge",
    ),
    (
        "Usage limit: is a monthly budget of the organization, of this project or of this key used up? Raise it, or wait for the month's end.",
        "{limits}",
    ),
    (
        "Rate limit: last. Only if all of the above is fine, is the model's limit for this tier zero or tiny?",
        "{limits}",
    ),
];

pub(super) const CLOSED: List = &[
    (
        "Look for the provider's mail to the account's owner: it names the reason.",
        "",
    ),
    (
        "Check open invoices; a settled one reopens some accounts.",
        "{billing}",
    ),
    (
        "Write to the provider's support with the request id below. No new key helps.",
        "",
    ),
];

pub(super) const RATE: List = &[
    (
        "Wait as told, then repeat; not earlier.",
        "headers retry-after, retry-after-ms; or the message",
    ),
    (
        "Read which bucket is empty: requests or tokens, of which model, and how large it is.",
        "headers x-ratelimit-limit-*, -remaining-*, -reset-*",
    ),
    (
        "See who else spends it: the limit is shared by all keys of the organization or project.",
        "{limits}; usage by key",
    ),
    (
        "Spread the calls, or let weir do it: set limits on the upstream and calls wait in fair order.",
        "[[upstream]] limits",
    ),
    (
        "If it is always full: a higher tier, or a second target in the route.",
        "{limits}",
    ),
];

pub(super) const TOKENS: List = &[
    (
        "Wait as told, then repeat; not earlier.",
        "headers retry-after, retry-after-ms; or the message",
    ),
    (
        "Lower max_tokens (max_completion_tokens): what may be written counts, not what is.",
        "the request",
    ),
    (
        "Shorten the input, or cache it; Limit, Used and Requested in the message show by how much.",
        "the message",
    ),
    (
        "See who else spends it: the limit is shared by all keys of the organization or project.",
        "{limits}; usage by key",
    ),
    (
        "If it is always full: a higher tier, a smaller model, or a second target in the route.",
        "{limits}",
    ),
];

pub(super) const DAY: List = &[
    (
        "Do not wait in a loop: the reset is hours away.",
        "the told reset",
    ),
    (
        "Use another model or provider until then.",
        "[[route]] targets",
    ),
    (
        "See what used the day up; a free plan's day is small.",
        "{limits}",
    ),
    (
        "Raise the plan or tier, or move bulk work to the batch API.",
        "{billing}",
    ),
];

pub(super) const CONCURRENCY: List = &[
    (
        "Lower the number of parallel calls.",
        "your worker pool; [[upstream]] limits.concurrency",
    ),
    (
        "Look for calls that hang: each one holds a place until its timeout.",
        "access log, duration_ms",
    ),
    ("Then repeat.", ""),
];

pub(super) const RAMP: List = &[
    ("Go back to the rate of some minutes ago.", ""),
    (
        "Let it grow slowly from there, over a quarter of an hour.",
        "",
    ),
    (
        "Start bulk jobs with few workers, or put them into the batch API.",
        "",
    ),
];

pub(super) const TOO_LARGE_FOR_LIMIT: List = &[
    ("Do not retry it as it is.", ""),
    ("Lower max_tokens first: it counts in full.", "the request"),
    (
        "Split or shorten the input below the limit that the message names.",
        "the message: Limit, Requested",
    ),
    (
        "Else a higher tier, a model with a higher limit, or another provider.",
        "{limits}",
    ),
];

pub(super) const BATCH: List = &[
    (
        "Wait for running batches to end, then submit.",
        "GET /v1/batches",
    ),
    ("Cut this one into smaller ones.", ""),
    (
        "The limit is by model: another model has a queue of its own.",
        "{limits}",
    ),
];

pub(super) const KEY: List = &[
    (
        "Which key was sent? Compare its last characters with the console; a variable of the shell often hides the .env file.",
        "OPENAI_API_KEY in this very process; `weir doctor`",
    ),
    (
        "Look for blanks, quotes, a line end or `Bearer ` inside the key.",
        "the variable",
    ),
    (
        "Does the key belong to this provider, and the base URL to the key?",
        "OPENAI_BASE_URL",
    ),
    (
        "Was it revoked, or did it expire? Leaked keys are revoked by the provider.",
        "{keys}",
    ),
    (
        "Else make a new one, and restart what holds the old one.",
        "{keys}",
    ),
];

pub(super) const KEY_MISSING: List = &[
    (
        "Set the key where this process sees it: not only in another shell.",
        "OPENAI_API_KEY",
    ),
    (
        "Check the header: `Authorization: Bearer ...` (Anthropic: x-api-key, Azure: api-key, Gemini: x-goog-api-key).",
        "the request",
    ),
    ("A proxy in between may drop it; ask past it.", ""),
];

pub(super) const WRONG_ORG: List = &[
    (
        "Take the organization and project headers away and try again: the key alone knows where it belongs.",
        "OpenAI-Organization, OpenAI-Project",
    ),
    (
        "Look for them in the environment; the SDK sends them unasked.",
        "OPENAI_ORG_ID, OPENAI_PROJECT_ID; `weir doctor`",
    ),
    ("Which organization does the key belong to?", "{keys}"),
    (
        "Is the key's owner still a member of it?",
        "the console, Members",
    ),
];

pub(super) const ARCHIVED: List = &[
    (
        "Make a key in a project that lives, and use that.",
        "{keys}",
    ),
    (
        "Or let an owner restore the project, if the provider allows it.",
        "the console, Projects",
    ),
];

pub(super) const PERMISSION: List = &[
    (
        "Read which scope, model or role the message names.",
        "the message",
    ),
    (
        "Restricted key: give it that permission, or use one that has it.",
        "{keys}",
    ),
    ("Project: allow the model in its limits.", "{limits}"),
    (
        "Role: ask an owner of the organization.",
        "the console, Members",
    ),
];

pub(super) const VERIFICATION: List = &[
    (
        "Verify the organization; it takes a document and some minutes to arrive.",
        "the console, Organization, General",
    ),
    (
        "Until then use another model, or the same one without streaming if only that is refused.",
        "",
    ),
    (
        "Verified already? Is the key of the same organization?",
        "header openai-organization",
    ),
];

pub(super) const IP: List = &[
    (
        "Which address do you come from? It may be a new egress.",
        "curl https://api.ipify.org",
    ),
    (
        "Add it to the allow-list, or call from one that is on it.",
        "the console, security or network settings",
    ),
];

pub(super) const REGION: List = &[
    (
        "Where does the call leave from? A VPN or a cloud's region counts, not you.",
        "",
    ),
    (
        "Call from a supported region, or use a provider that serves this one.",
        "",
    ),
    (
        "A gateway of your own in a supported region is the usual way, if your contract allows it.",
        "",
    ),
];
