//! What to do, in order, for each class: lists of data, filled in with what the evidence names.
//!
//! For money the order is fixed, and is the one in which support asks: payment record, balance, organisation and project,
//! auto recharge, usage limit, rate limit.

use super::{Step, Whose, evidence::Shown};
use crate::triage::{Class, Verdict};

/// A vendor's pages.
struct Pages {
    billing: &'static str,
    limits: &'static str,
    keys: &'static str,
    status: &'static str,
}

/// By preset. What is missing is put into words.
const PAGES: &[(&str, Pages)] = &[
    (
        "openai",
        Pages {
            billing: "platform.openai.com/settings/organization/billing",
            limits: "platform.openai.com/settings/organization/limits",
            keys: "platform.openai.com/api-keys",
            status: "status.openai.com",
        },
    ),
    (
        "anthropic",
        Pages {
            billing: "console.anthropic.com/settings/billing",
            limits: "console.anthropic.com/settings/limits",
            keys: "console.anthropic.com/settings/keys",
            status: "status.anthropic.com",
        },
    ),
    (
        "gemini",
        Pages {
            billing: "console.cloud.google.com/billing",
            limits: "aistudio.google.com/usage",
            keys: "aistudio.google.com/apikey",
            status: "status.cloud.google.com",
        },
    ),
    (
        "azure",
        Pages {
            billing: "portal.azure.com: Cost Management + Billing",
            limits: "ai.azure.com: Quota, and the deployment's tokens per minute",
            keys: "portal.azure.com: the resource, Keys and Endpoint",
            status: "status.azure.com",
        },
    ),
    (
        "groq",
        Pages {
            billing: "console.groq.com/settings/billing",
            limits: "console.groq.com/settings/limits",
            keys: "console.groq.com/keys",
            status: "groqstatus.com",
        },
    ),
    (
        "openrouter",
        Pages {
            billing: "openrouter.ai/settings/credits",
            limits: "openrouter.ai/settings/keys (a key has a limit of its own)",
            keys: "openrouter.ai/settings/keys",
            status: "status.openrouter.ai",
        },
    ),
    (
        "mistral",
        Pages {
            billing: "admin.mistral.ai: Billing",
            limits: "admin.mistral.ai: Limits",
            keys: "console.mistral.ai/api-keys",
            status: "status.mistral.ai",
        },
    ),
    (
        "deepseek",
        Pages {
            billing: "platform.deepseek.com/top_up",
            limits: "platform.deepseek.com/usage",
            keys: "platform.deepseek.com/api_keys",
            status: "status.deepseek.com",
        },
    ),
];

const ELSEWHERE: Pages = Pages {
    billing: "the provider's console, Billing",
    limits: "the provider's console, Limits",
    keys: "the provider's console, API keys",
    status: "the provider's status page",
};

/// What to do, and where. `{billing}`, `{limits}`, `{keys}` and `{status}` are the vendor's pages.
type List = &'static [(&'static str, &'static str)];

/// Between these stands the step about organisation and project, which the evidence fills in.
const MONEY_BEFORE: List = &[
    (
        "Payment record: is the last charge paid? A declined card or an open invoice stops everything, whatever the balance says.",
        "{billing}, history",
    ),
    (
        "Balance: is there credit above zero, and has it not expired? After a top-up allow some minutes.",
        "{billing}, overview",
    ),
];

const MONEY_AFTER: List = &[
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

const CLOSED: List = &[
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

const RATE: List = &[
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

const TOKENS: List = &[
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

const DAY: List = &[
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

const CONCURRENCY: List = &[
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

const RAMP: List = &[
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

const TOO_LARGE_FOR_LIMIT: List = &[
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

const OVERLOADED: List = &[
    (
        "Repeat with a pause that doubles, and stop after a few.",
        "",
    ),
    ("Look whether the provider knows.", "{status}"),
    (
        "Send what must not wait to another model or provider.",
        "[[route]] targets",
    ),
    (
        "If it lasts for hours, ask support with the request id below.",
        "",
    ),
];

const TIER: List = &[
    (
        "Ask for another service tier, region or deployment.",
        "service_tier, the base URL, the deployment",
    ),
    (
        "Or send it to another model or provider.",
        "[[route]] targets",
    ),
    ("Repeat later with a pause that doubles.", ""),
];

const EDGE: List = &[
    ("Repeat; most pass within minutes.", ""),
    (
        "Who wrote the page? A name in it or the `server` header tells: the provider's edge, or your own proxy.",
        "headers server, via, cf-ray",
    ),
    (
        "Check the base URL: a web site answers with pages, the API with JSON.",
        "OPENAI_BASE_URL; it ends in /v1",
    ),
    ("Look whether the provider knows.", "{status}"),
    (
        "Long calls that die at 60 or 100 s: a proxy's limit. Stream them.",
        "stream: true",
    ),
];

const EDGE_BLOCKED: List = &[
    ("Do not make new keys; the key was not looked at.", ""),
    (
        "Slow all traffic of this host down; shared addresses (clouds, VPNs, offices) are judged together.",
        "",
    ),
    (
        "Try from another network. Works there: change the egress address.",
        "curl -i from elsewhere",
    ),
    (
        "Look for a VPN, proxy or odd User-Agent that looks like a bot.",
        "",
    ),
    (
        "If it is your own address, write to support with the cf-ray id.",
        "header cf-ray",
    ),
];

const KEY: List = &[
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

const KEY_MISSING: List = &[
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

const WRONG_ORG: List = &[
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

const ARCHIVED: List = &[
    (
        "Make a key in a project that lives, and use that.",
        "{keys}",
    ),
    (
        "Or let an owner restore the project, if the provider allows it.",
        "the console, Projects",
    ),
];

const PERMISSION: List = &[
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

const VERIFICATION: List = &[
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

const IP: List = &[
    (
        "Which address do you come from? It may be a new egress.",
        "curl https://api.ipify.org",
    ),
    (
        "Add it to the allow-list, or call from one that is on it.",
        "the console, security or network settings",
    ),
];

const MODEL: List = &[
    (
        "Check the spelling, with prefix and date.",
        "GET /v1/models with the same key",
    ),
    (
        "Has it been retired? The provider's deprecation page names the successor.",
        "",
    ),
    (
        "Is it allowed for this project, tier and region?",
        "{limits}",
    ),
    (
        "Azure: the name of the deployment counts, not of the model; a new one takes minutes.",
        "",
    ),
    (
        "Does the request go to the provider that has it?",
        "OPENAI_BASE_URL; [[route]]",
    ),
];

const REGION: List = &[
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

const ROUTER: List = &[
    (
        "Relax the router's settings: data policy, allowed providers, required parameters, price.",
        "the router's account settings; `provider` in the request",
    ),
    ("Or name another model.", ""),
];

const INVALID: List = &[
    (
        "Read the message: it names the field.",
        "error.message, error.param",
    ),
    (
        "A parameter that the model does not know? Newer models drop temperature, take max_completion_tokens, and so on.",
        "the model's page",
    ),
    (
        "Does another model get it by fallback? Then it may not know this field either.",
        "[[route]] targets",
    ),
    ("Do not retry it as it is.", ""),
];

const CONTEXT: List = &[
    (
        "Count: input plus max_tokens must fit.",
        "the message names both numbers",
    ),
    (
        "Cut the oldest turns, summarise them, or send fewer documents.",
        "",
    ),
    ("Lower max_tokens if it is what reaches over.", ""),
    (
        "Or take a model with a larger window; weir asks one by itself if the route has it.",
        "[[route]] targets",
    ),
];

const CONTENT: List = &[
    (
        "Which part was refused, input or output? Some providers say so.",
        "error.innererror, content_filter_result",
    ),
    (
        "Change the prompt; do not repeat it, and do not shop it around.",
        "",
    ),
    (
        "A false alarm that matters: the provider's filter settings, or support with the request id.",
        "",
    ),
];

const PAYLOAD: List = &[
    (
        "Make files and images smaller, or send a URL or a file id in place of the bytes.",
        "",
    ),
    (
        "Who refuses: the API, or a proxy with a body limit (nginx: client_max_body_size)?",
        "header server",
    ),
    ("Headers too large: a cookie or a huge tag.", ""),
];

const PATH: List = &[
    (
        "Print the URL that was really called: /v1 missing, /v1/v1, or a trailing /chat/completions in the base URL.",
        "OPENAI_BASE_URL",
    ),
    (
        "Does this provider have the endpoint? Not all have /v1/responses.",
        "",
    ),
    (
        "An id: is it of the same account and project, and still there?",
        "",
    ),
];

const STATE: List = &[
    (
        "Start without it: leave previous_response_id, the file id or the encrypted block out.",
        "",
    ),
    (
        "Keep calls that build on each other at one account; weir does not move them.",
        "[[route]] with one target",
    ),
    (
        "Was it stored at all (store: true), and has it not expired?",
        "",
    ),
];

const BATCH: List = &[
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

const TIMEOUT: List = &[
    (
        "Whose patience ended? Compare the time it took with the SDK's timeout (600 s), a proxy's (60, 100 s), weir's first_token_timeout.",
        "",
    ),
    (
        "Stream: the first token comes soon, the whole answer late.",
        "stream: true",
    ),
    ("Ask for less: lower max_tokens, less reasoning effort.", ""),
    (
        "Before repeating: the call may have run to its end and be charged.",
        "the provider's usage page",
    ),
    ("Look whether the provider is slow.", "{status}"),
];

const CONNECT_TIMEOUT: List = &[
    (
        "Is there a way out? Firewalls drop packets silently, which looks like this.",
        "curl -v https://api.openai.com/v1/models",
    ),
    (
        "A proxy that must be used? weir itself does not read HTTPS_PROXY.",
        "HTTPS_PROXY, NO_PROXY",
    ),
    ("IPv6 that leads nowhere: try IPv4.", "curl -4"),
    ("Look whether the provider is down.", "{status}"),
];

const DNS: List = &[
    (
        "Is the host spelt right? No scheme twice, no blank, no path.",
        "OPENAI_BASE_URL",
    ),
    (
        "Does this machine, or this container, resolve it?",
        "getent hosts api.openai.com",
    ),
    (
        "In containers: is there a DNS server, and does a network policy allow port 53?",
        "/etc/resolv.conf",
    ),
    ("EAI_AGAIN passes: repeat.", ""),
];

const TLS: List = &[
    (
        "Who signed the certificate? A company proxy's name there means that it inspects traffic.",
        "openssl s_client -connect api.openai.com:443",
    ),
    (
        "Then add its CA where this program looks; do not turn verification off.",
        "SSL_CERT_FILE, REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS",
    ),
    (
        "Old images lack CA certificates altogether.",
        "ca-certificates, certifi",
    ),
    (
        "Is the clock right? A wrong one makes certificates invalid.",
        "date -u",
    ),
    (
        "`wrong version number`: https:// to a port that speaks http, or a proxy that does.",
        "OPENAI_BASE_URL",
    ),
];

const REFUSED: List = &[
    (
        "Does anything listen there? For a local server: start it.",
        "the host and port in the message",
    ),
    (
        "In a container 127.0.0.1 is the container itself: use the service's name or host.docker.internal.",
        "OPENAI_BASE_URL",
    ),
    (
        "A server that listens on 127.0.0.1 only is not reached from outside.",
        "",
    ),
    (
        "A proxy in the environment that is not running?",
        "HTTPS_PROXY",
    ),
];

const RESET: List = &[
    (
        "Repeat: a connection that was idle for long is often dead when it is used again.",
        "",
    ),
    (
        "Always after the same time: a proxy or NAT with an idle limit. Stream, or send keep-alives.",
        "",
    ),
    ("Always with large requests: a proxy's body limit.", ""),
    (
        "Before repeating a call that took long: it may have been charged.",
        "",
    ),
];

const CONNECTION: List = &[
    (
        "Find the innermost cause: the SDK hides it (Python: __cause__, Node: error.cause), and paste it here.",
        "the traceback's first exception",
    ),
    (
        "Ask by hand from the same place, with the same environment.",
        "curl -v https://api.openai.com/v1/models",
    ),
    (
        "Check base URL and proxy variables.",
        "OPENAI_BASE_URL, HTTPS_PROXY, NO_PROXY",
    ),
    ("Look whether the provider is down.", "{status}"),
];

const STREAM: List = &[
    (
        "Throw the part away, or show it as cut: it is not an answer.",
        "",
    ),
    ("Repeat the call; it may be charged twice.", ""),
    (
        "Always after the same time: a proxy's idle limit, or one that buffers.",
        "",
    ),
    ("Look whether the provider knows.", "{status}"),
];

const SERVER: List = &[
    (
        "Repeat with a pause that doubles, and stop after a few.",
        "",
    ),
    ("Look whether the provider knows.", "{status}"),
    (
        "Always with the same request: make it smaller until it works, then you have the cause.",
        "",
    ),
    ("Ask support with the request id below.", ""),
];

const CONFLICT: List = &[
    ("Let the other call end, then repeat.", ""),
    ("Two workers on one object? Give it to one.", ""),
];

const OUTPUT: List = &[
    ("Repeat once: another sample may fit.", ""),
    (
        "Simplify the schema or the tool, lower the temperature, or give more max_tokens.",
        "",
    ),
];

const LOADING: List = &[
    ("Wait until it is ready.", "the server's /health, its log"),
    (
        "Keep it loaded, if it is unloaded when idle.",
        "Ollama: keep_alive",
    ),
];

const CANCELLED: List = &[
    (
        "Who ended it: the user, a timeout of the client, or a session's time limit?",
        "",
    ),
    ("Open a new session if its time was up.", ""),
];

/// What to do, in order.
pub(super) fn steps(verdict: &Verdict, evidence: &Shown, whose: &Whose) -> Vec<Step> {
    let pages = PAGES
        .iter()
        .find(|(name, _)| whose.name == *name || whose.name.strip_suffix("-openai") == Some(name))
        .map_or(&ELSEWHERE, |(_, pages)| pages);
    if matches!(
        verdict.class,
        Class::QuotaExhausted | Class::BillingHardLimit | Class::BillingInactive
    ) {
        let mut steps = filled(MONEY_BEFORE, pages);
        steps.push(whose_account(evidence));
        steps.extend(filled(MONEY_AFTER, pages));
        return steps;
    }
    filled(list(verdict.class, evidence), pages)
}

fn filled(list: List, pages: &Pages) -> Vec<Step> {
    let fill = |text: &str| {
        text.replace("{billing}", pages.billing)
            .replace("{limits}", pages.limits)
            .replace("{keys}", pages.keys)
            .replace("{status}", pages.status)
    };
    list.iter()
        .map(|(what, place)| Step::new(*what, fill(place)))
        .collect()
}

/// The step that finds most days lost: paid there, asked here.
fn whose_account(evidence: &Shown) -> Step {
    let (named, place) = match (&evidence.organization, &evidence.project) {
        (Some(organization), Some(project)) => (
            format!("The answer names {organization} and {project}."),
            "compare with the console's organization and project switch",
        ),
        (Some(organization), None) => (
            format!("The answer names {organization}."),
            "compare with the console's organization switch",
        ),
        _ => (
            "This paste does not say which; the response headers do.".to_owned(),
            "headers openai-organization, openai-project (curl -i); `weir doctor`",
        ),
    };
    Step::new(
        format!(
            "Organization and project: was the money paid into the one that this key bills? {named} Credit of another organization, or of a personal account, does not count."
        ),
        place,
    )
}

fn list(class: Class, evidence: &Shown) -> List {
    match class {
        Class::QuotaExhausted | Class::BillingHardLimit | Class::BillingInactive => MONEY_BEFORE,
        Class::AccountDeactivated => CLOSED,
        Class::RateLimitedRequests | Class::RateLimitedImages => RATE,
        Class::RateLimitedTokens => TOKENS,
        Class::RateLimitedDay => DAY,
        Class::RateLimitedConcurrency => CONCURRENCY,
        Class::RateLimitedRamp => RAMP,
        Class::RequestTooLargeForLimit => TOO_LARGE_FOR_LIMIT,
        Class::PayloadTooLarge => PAYLOAD,
        Class::BatchQueueFull => BATCH,
        Class::Overloaded => OVERLOADED,
        Class::CapacityUnavailable => TIER,
        Class::ServerError | Class::Unknown => SERVER,
        Class::Timeout if evidence.network.as_deref() == Some("connect_timeout") => CONNECT_TIMEOUT,
        Class::Timeout => TIMEOUT,
        Class::Connection => match evidence.network.as_deref() {
            Some("dns") => DNS,
            Some("tls") => TLS,
            Some("refused") => REFUSED,
            Some("reset") => RESET,
            _ => CONNECTION,
        },
        Class::EdgeHtmlError => EDGE,
        Class::StreamError => STREAM,
        Class::EdgeBlocked => EDGE_BLOCKED,
        Class::AuthInvalid => KEY,
        Class::AuthMissing => KEY_MISSING,
        Class::AuthWrongOrg => WRONG_ORG,
        Class::AuthProjectArchived => ARCHIVED,
        Class::Permission => PERMISSION,
        Class::VerificationRequired => VERIFICATION,
        Class::IpBlocked => IP,
        Class::ModelNotFound => MODEL,
        Class::RegionUnsupported => REGION,
        Class::RoutingNoProvider => ROUTER,
        Class::InvalidRequest => INVALID,
        Class::ContextLength => CONTEXT,
        Class::ContentFilter => CONTENT,
        Class::NotFound => PATH,
        Class::Conflict => CONFLICT,
        Class::StateNotPortable => STATE,
        Class::ModelOutputInvalid => OUTPUT,
        Class::ModelLoading => LOADING,
        Class::Cancelled => CANCELLED,
    }
}
