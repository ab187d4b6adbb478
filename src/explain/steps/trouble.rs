//! What to do about a provider in trouble, and the way to it: lists of data.

use super::List;

pub(super) const OVERLOADED: List = &[
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

pub(super) const TIER: List = &[
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

pub(super) const SERVER: List = &[
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

pub(super) const LOADING: List = &[
    ("Wait until it is ready.", "the server's /health, its log"),
    (
        "Keep it loaded, if it is unloaded when idle.",
        "Ollama: keep_alive",
    ),
];

pub(super) const STREAM: List = &[
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

pub(super) const EDGE: List = &[
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

pub(super) const EDGE_BLOCKED: List = &[
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

pub(super) const TIMEOUT: List = &[
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

pub(super) const CONNECT_TIMEOUT: List = &[
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

pub(super) const DNS: List = &[
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

pub(super) const TLS: List = &[
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

pub(super) const REFUSED: List = &[
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

pub(super) const RESET: List = &[
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

pub(super) const CONNECTION: List = &[
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
