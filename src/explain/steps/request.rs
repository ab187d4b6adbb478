//! What to do about a request that cannot work as it is: lists of data.

use super::List;

pub(super) const MODEL: List = &[
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

pub(super) const ROUTER: List = &[
    (
        "Relax the router's settings: data policy, allowed providers, required parameters, price.",
        "the router's account settings; `provider` in the request",
    ),
    ("Or name another model.", ""),
];

pub(super) const INVALID: List = &[
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

pub(super) const CONTEXT: List = &[
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

pub(super) const CONTENT: List = &[
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

pub(super) const PAYLOAD: List = &[
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

pub(super) const PATH: List = &[
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

pub(super) const STATE: List = &[
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

pub(super) const CONFLICT: List = &[
    ("Let the other call end, then repeat.", ""),
    ("Two workers on one object? Give it to one.", ""),
];

pub(super) const OUTPUT: List = &[
    ("Repeat once: another sample may fit.", ""),
    (
        "Simplify the schema or the tool, lower the temperature, or give more max_tokens.",
        "",
    ),
];

pub(super) const CANCELLED: List = &[
    (
        "Who ended it: the user, a timeout of the client, or a session's time limit?",
        "",
    ),
    ("Open a new session if its time was up.", ""),
];
